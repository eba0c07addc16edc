"""Mutation testing of the modules that decide: one small change at a time, and the fast tests must notice each.

Why not mutmut 3: it leaves out module-level constants and every function under @property or @cache, which in an
adapter are the bit masks and the configuration fields, and it takes no seeded sample. How mutants are tried quickly is
mutation_lab's business.

Left alone: annotations, docstrings, decorators, names given to NewType and TypeVar, and text with a space in it, which
is for people. A mutant that hangs its tests counts as killed. Results stay under .mutants/ and are taken up again.
"""

from __future__ import annotations

import argparse
import ast
import copy
import difflib
import hashlib
import importlib.util
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import mutation_lab as lab  # it lies beside this file

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / ".mutants" / "results.jsonl"
BASELINE = RESULTS.with_name("baseline.log")
PURE_ROOMS = ("core", "protocols", "oracles", "health", "policy")

# The modules, and the fast tests that are to notice a change in them.
TARGETS: dict[str, tuple[str, ...]] = {
    str(path.relative_to(ROOT)): tuple(sorted({str(test) for name in tests for test in ROOT.glob(name)}))
    for pattern, tests in {
        "monitor/core/units.py": ("tests/unit/test_units.py",),
        "monitor/policy/levels.py": ("tests/unit/test_levels.py",),
        "monitor/protocols/aave_v3/*.py": ("tests/protocols/test_aave_v3*.py", "tests/policy/test_*.py"),
    }.items()
    for path in sorted(ROOT.glob(pattern))
}
SLOW_TOO = ("search", "effects")
"""Modules about which slow tests are asked: those that compare a search with all that there is to be found."""
PRELOAD = (
    *("pytest", "pytest_asyncio.plugin", "pytest_timeout", "hypothesis.strategies", "_hypothesis_pytestplugin"),
    *("pydantic", "eth_abi.abi", "eth_utils.crypto", "eth_hash.auto", "gzip"),
)
PYTEST = ("-x", "-q", "--assert=plain", "-p", "no:randomly", "-p", "no:cacheprovider", "--hypothesis-seed=0")

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
}  # fmt: skip
# A function is exchanged for its opposite, where the module knows it: mul_div_down for mul_div_up, min for max.
OPPOSITES = (
    *(("_half_up", "_down"), ("_down", "_up"), ("_up", "_down"), ("_floor", "_ceil"), ("_ceil", "_floor")),
    *(("min", "max"), ("max", "min"), ("any", "all"), ("all", "any")),
)


class Mutant(NamedTuple):
    """One change: in `field` of `parent` (at `place`, if that is a list) stands `new` instead of what was there."""

    line: int
    parent: ast.AST
    field: str
    place: int | None
    new: ast.AST

    def apply(self) -> None:
        if self.place is None:
            setattr(self.parent, self.field, self.new)
        else:
            getattr(self.parent, self.field)[self.place] = self.new


def mutants(tree: ast.Module) -> list[Mutant]:
    """Every mutant of a module, in the order of the tree."""
    known = {"min", "max", "any", "all"} | {getattr(n, "id", getattr(n, "name", None)) for n in ast.walk(tree)}
    return list(_below(tree, known, 0))


def _below(parent: ast.AST, known: set[Any], line: int) -> Iterator[Mutant]:
    if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) and parent.func.id in {"NewType", "TypeVar"}:
        return
    for field, value in ast.iter_fields(parent):
        for place, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or field in {"annotation", "returns", "decorator_list"}:
                continue
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # a docstring
            at = getattr(node, "lineno", line)
            for new in alternatives(node, known):
                yield Mutant(at, parent, field, place, new)
            yield from _below(node, known, at)


def alternatives(node: ast.AST, known: set[Any]) -> Iterator[ast.AST]:  # noqa: C901, PLR0912 - a case per slip
    """What could stand in place of the node, each different from it by one slip."""

    def but(**fields: Any) -> ast.AST:
        new = copy.copy(node)
        vars(new).update(fields)
        return new

    match node:
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                yield from (but(ops=[*ops[:i], other(), *ops[i + 1 :]]) for other in COMPARISONS[type(op)])
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in OPERATORS:
            yield but(op=OPERATORS[type(operator)]())
        case ast.BoolOp(op=both):
            yield but(op=ast.Or() if isinstance(both, ast.And) else ast.And())
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):  # those have mutants of their own
                yield but(test=ast.UnaryOp(ast.Not(), test))
        case ast.Constant(value=bool(flag)):
            yield but(value=not flag)
        case ast.Constant(value=int(number)):
            yield but(value=number + 1)
            if number > 1:
                yield but(value=number - 1)
        case ast.Constant(value=str(text)) if text and " " not in text:
            yield but(value=text + "_" if len(text) > 1 else "_")  # alone: strip("0_") would still strip zeros
        case ast.Name(id=name, ctx=ast.Load()):
            opposites = (name.removesuffix(end) + other for end, other in OPPOSITES if name.endswith(end))
            yield from (but(id=opposite) for opposite in opposites if opposite in known)
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case _:
            pass


class Replaced(SourceFileLoader):
    """Answers the import of one module with changed code; everything else is imported as ever."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        super().__init__(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."), str(ROOT / path))
        self.tree = ast.fix_missing_locations(tree)

    def find_spec(self, name: str, *_: Any) -> Any:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.tree, f"{fullname} with one change", "exec")


@cache
def source(path: str) -> bytes:
    """The source as it was at the start: somebody may go on writing while this runs."""
    return (ROOT / path).read_bytes()


def difference(path: str, number: int) -> tuple[int, str]:
    """The line of a mutant, and its change as a diff of the module without comments."""
    tree = ast.parse(source(path))
    before, mutant = ast.unparse(tree).splitlines(), mutants(tree)[number]
    mutant.apply()
    lines = list(difflib.unified_diff(before, ast.unparse(tree).splitlines(), n=0, lineterm=""))
    return mutant.line, "\n".join(f"    {line}" for line in lines[2:] if not line.startswith("@@"))


def digest(paths: list[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(paths) if path.is_file())).hexdigest()[:16]


class Trials:
    """All mutants of modules that share their tests: most in one collected session, the rest with the module anew."""

    def __init__(self, tests: tuple[str, ...], state: str, todo: list[tuple[str, int]], jobs: int, note: Any) -> None:
        """`state` stands for the sources and the tests as they are: what was learned of others is of no use."""
        self.tests, self.todo, self.jobs, self._note = tests, todo, jobs, note
        self.kept = RESULTS.with_name(f"baseline-{state}.json")
        self._running: dict[int, tuple[str, int]] = {}
        self._kills: dict[str, Counter[str]] = {}
        """By module, how many mutants each test has killed: the next mutant of it meets those first."""

    def run(self) -> None:
        """The session lives in a child, so that this process never imports a module that is to be changed."""
        if not self.kept.exists():
            _require(lab.child(lambda: self._session([*self.tests], self._learn), BASELINE), BASELINE)
        known = lab.load(self.kept)
        anew = [mutant for mutant in self.todo if swaps_of(*mutant) is None]
        log = RESULTS.with_name("session.log")
        _require(lab.child(lambda: self._session([*self.tests], self._exchange), log), log)
        unable = RESULTS.with_name("unable.json")
        anew += [tuple(one) for one in json.loads(unable.read_text())]
        if anew:
            _require(lab.child(lambda: self._import_anew(anew[0][0], None, known), log), log)
        for path, number in anew:
            self._start((path, number), partial(self._import_anew, path, number, known))
        self._drain(0)

    def _session(self, tests: list[str], work: Any) -> None:
        if code := int(sys.modules["pytest"].main([*PYTEST, *tests], plugins=[lab.Lab(work)])):
            os._exit(code)

    def _learn(self, session: lab.Lab) -> None:
        files = {str(ROOT / path): path for path, its in TARGETS.items() if its == self.tests}
        lab.save(session.baseline(files), self.kept)

    def _exchange(self, session: lab.Lab) -> None:
        known, unable = lab.load(self.kept), []
        control = RESULTS.with_name("control.log")
        _require(
            lab.child(lambda: session.run([n for n in known.tests(None, {}) if n in session.items]), control), control
        )
        for path, number in self.todo:
            swaps = swaps_of(path, number)
            if swaps is None:
                continue
            module = sys.modules[module_name(path)]
            found = [(lab.function(module, swap), swap) for swap in swaps]
            if any(function is None for function, _ in found):
                unable.append((path, number))
                continue
            self._drain(self.jobs - 1)
            functions = [f"{path}:{swap.line}" for swap in swaps]
            likely = known.tests(functions, self._kills.get(path, {}), Path(path).stem in SLOW_TOO)
            names = [name for name in likely if name in session.items]

            def try_it(found: Any = found, names: list[str] = names) -> None:
                for function, swap in found:
                    function.__code__ = swap.code
                session.run(names, known.seconds)

            self._start((path, number), try_it)
        self._drain(0)
        RESULTS.with_name("unable.json").write_text(json.dumps(unable))

    def _import_anew(self, path: str, number: int | None, known: lab.Baseline) -> None:
        tree = ast.parse(source(path))
        if number is not None:
            mutants(tree)[number].apply()
        sys.meta_path.insert(0, Replaced(path, tree))
        names = known.tests(None, self._kills.get(path, {}))
        # those named after the module first and alone: to collect the others takes longer than to run these
        named = [test for test in self.tests if Path(path).stem in Path(test).stem]
        for files in (named, [test for test in self.tests if test not in named]):
            if files:
                self._session(
                    files, lambda session: session.run([n for n in names if n in session.items], known.seconds)
                )

    def _start(self, mutant: tuple[str, int], work: Any) -> None:
        self._drain(self.jobs - 1)
        self._running[lab.child(work, Path(os.devnull))] = mutant

    def _drain(self, most: int) -> None:
        """Wait until no more than so many are running."""
        while len(self._running) > most:
            pid, status = os.waitpid(-1, 0)
            mutant, killer = self._running.pop(pid), lab.killer(pid)
            self._kills.setdefault(mutant[0], Counter())[killer] += 1
            self._note(mutant, lab.fate(status))


def _require(pid: int, log: Path) -> None:
    """Wait for a run without any mutant. May raise: SystemExit if it fails: then no result says anything."""
    if os.waitpid(pid, 0)[1]:
        raise SystemExit(f"scripts/mutate: the tests fail without any mutant; see {log}")


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def swaps_of(path: str, number: int) -> list[Any] | None:
    """The functions to exchange for a mutant; None where the module must be imported anew."""
    tree = ast.parse(source(path))
    mutants(tree)[number].apply()
    file = str(ROOT / path)
    return lab.patch(compile(source(path), file, "exec"), compile(ast.fix_missing_locations(tree), file, "exec"))


def examine(chosen: list[tuple[str, int]], jobs: int, keep_kills: bool) -> dict[tuple[str, int], str]:
    """What became of each mutant; what an earlier run found out about the same sources is not asked again."""
    tree = digest([file for room in PURE_ROOMS for file in (ROOT / "monitor" / room).rglob("*.py")])
    rules = digest([Path(__file__), Path(lab.__file__)])
    helpers = [file for file in ROOT.glob("tests/**/*.py") if not file.name.startswith("test_")]
    tests = {path: digest([Path(test) for test in TARGETS[path]] + helpers) for path, _ in chosen}
    known: dict[tuple[str, int], str] = {}

    def take_in() -> None:
        for line in RESULTS.read_text().splitlines() if RESULTS.exists() else []:
            was = json.loads(line)
            same = was["tests"] == tests.get(was["path"]) or (keep_kills and was["fate"] != "survived")
            if (was["tree"], was["rules"]) == (tree, rules) and same:
                known[was["path"], was["number"]] = was["fate"]

    def note(mutant: tuple[str, int], fate: str) -> None:
        path, number = mutant
        record = {"path": path, "number": number, "fate": fate, "tree": tree, "rules": rules, "tests": tests[path]}
        with RESULTS.open("a") as results:
            print(json.dumps(record), file=results)

    take_in()
    todo = [mutant for mutant in chosen if mutant not in known]
    print(f"{len(chosen)} mutants, {len(todo)} to try")
    for its in dict.fromkeys(TARGETS[path] for path, _ in todo):
        mine = [mutant for mutant in todo if TARGETS[mutant[0]] == its]
        Trials(its, f"{tree}-{tests[mine[0][0]]}", mine, jobs, note).run()
    take_in()
    return {mutant: known[mutant] for mutant in chosen}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/mutate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("modules", nargs="*", default=list(TARGETS), help="default: all of them")
    parser.add_argument("--sample", type=int, help="try only so many, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0, help="orders the mutants")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--minimum", type=float, default=85.0, help="percent killed that each module must reach")
    parser.add_argument("--keep-kills", action="store_true", help="tests were only added: what was killed stays killed")
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    lab.KILLERS.mkdir(parents=True, exist_ok=True)
    for name in PRELOAD:
        importlib.import_module(name)

    chosen = [(path, n) for path in options.modules for n in range(len(mutants(ast.parse(source(path)))))]
    random.Random(options.seed).shuffle(chosen)
    fates = examine(chosen[: options.sample], options.jobs, options.keep_kills)

    enough = True
    for path in options.modules:
        for number in sorted(n for (its, n), fate in fates.items() if its == path and fate == "survived"):
            line, change = difference(path, number)
            print(f"{path}:{line}: survived\n{change}")
    for path in options.modules:
        all_of_it = [fate for (its, _), fate in fates.items() if its == path]
        total, killed = len(all_of_it), len(all_of_it) - all_of_it.count("survived")
        percent = 100 * killed / total if total else 100.0
        enough = enough and percent >= options.minimum
        print(f"{path}: {killed} of {total} killed ({percent:.1f} %), {all_of_it.count('timeout')} by timeout")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
