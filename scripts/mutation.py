"""Mutation testing of the modules that decide: one small change at a time, and the fast tests must notice each.

Why not mutmut 3: it leaves out module-level constants and every function under @property or @cache, which in an
adapter are the bit masks and the configuration fields, and it takes no seeded sample. Here a child is forked for each
mutant from a parent that has pytest and the third-party packages loaded and nothing of ours, so a mutant costs what its
tests cost.

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
import signal
import sys
import time
from collections.abc import Iterator
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / ".mutants" / "results.jsonl"
BASELINE = RESULTS.with_name("baseline.log")
PURE_ROOMS = ("core", "protocols", "oracles", "health", "policy")

# The modules, and the fast tests that are to notice a change in them, likeliest first.
TARGETS: dict[str, tuple[str, ...]] = {
    str(path.relative_to(ROOT)): tuple(
        str(test)
        for name in tests
        for test in sorted(ROOT.glob(name), key=lambda test: (path.stem not in test.stem, test))
    )
    for pattern, tests in {
        "monitor/core/units.py": ("tests/unit/test_units.py",),
        "monitor/policy/levels.py": ("tests/unit/test_levels.py",),
        "monitor/protocols/aave_v3/*.py": ("tests/protocols/test_aave_v3*.py", "tests/policy/test_*.py"),
    }.items()
    for path in sorted(ROOT.glob(pattern))
}
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


def start(path: str, number: int | None) -> int:
    """Forks a child that runs the tests of a module with its mutant of that number (None: as it is)."""
    if pid := os.fork():
        return pid
    os.setsid()
    tree = ast.parse(source(path))
    if number is not None:
        mutants(tree)[number].apply()
    sys.meta_path.insert(0, Replaced(path, tree))
    sink = os.open(os.devnull if number is not None else BASELINE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os._exit(int(sys.modules["pytest"].main([*PYTEST, *TARGETS[path]])))


def difference(path: str, number: int) -> tuple[int, str]:
    """The line of a mutant, and its change as a diff of the module without comments."""
    tree = ast.parse(source(path))
    before, mutant = ast.unparse(tree).splitlines(), mutants(tree)[number]
    mutant.apply()
    lines = list(difflib.unified_diff(before, ast.unparse(tree).splitlines(), n=0, lineterm=""))
    return mutant.line, "\n".join(f"    {line}" for line in lines[2:] if not line.startswith("@@"))


def finish(running: dict[int, Any], limits: dict[int, float]) -> tuple[Any, str]:
    """Waits until one child is done, or ends one that takes too long."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            if code in {3, 4, 5}:  # internal error, usage error, no tests: says nothing of the mutant
                raise SystemExit(f"scripts/mutate: pytest ended with code {code} on {running[pid]}")
            return running.pop(pid), "killed" if code else "survived"
        for late in [pid for pid in running if time.monotonic() > limits[pid]]:
            os.killpg(late, signal.SIGKILL)
            os.waitpid(late, 0)
            return running.pop(late), "timeout"
        signal.sigtimedwait([signal.SIGCHLD], 0.2)


def digest(paths: list[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(paths) if path.is_file())).hexdigest()[:16]


@cache
def baseline(tests: tuple[str, ...]) -> float:
    """Seconds that these tests take without any mutant; they must pass."""
    begun = time.monotonic()
    path = next(path for path, its in TARGETS.items() if its == tests)
    if os.waitpid(start(path, None), 0)[1]:
        raise SystemExit(f"scripts/mutate: {' '.join(tests)} fail without any mutant; see {BASELINE}")
    return time.monotonic() - begun


def examine(chosen: list[tuple[str, int]], jobs: int, keep_kills: bool) -> dict[tuple[str, int], str]:
    """What became of each mutant; what an earlier run found out about the same sources is not asked again."""
    tree = digest([Path(__file__)] + [file for room in PURE_ROOMS for file in (ROOT / "monitor" / room).rglob("*.py")])
    helpers = [file for file in ROOT.glob("tests/**/*.py") if not file.name.startswith("test_")]
    tests = {path: digest([Path(test) for test in TARGETS[path]] + helpers) for path, _ in chosen}
    known: dict[tuple[str, int], str] = {}
    for line in RESULTS.read_text().splitlines() if RESULTS.exists() else []:
        was = json.loads(line)
        same = was["tests"] == tests.get(was["path"]) or (keep_kills and was["fate"] != "survived")
        if was["tree"] == tree and same:
            known[was["path"], was["number"]] = was["fate"]
    todo = [mutant for mutant in chosen if mutant not in known]
    seconds = {path: baseline(TARGETS[path]) for path in {path for path, _ in todo}}
    print(f"{len(chosen)} mutants, {len(todo)} to try; the slowest tests take {max(seconds.values(), default=0):.1f} s")
    running: dict[int, tuple[str, int]] = {}
    limits: dict[int, float] = {}
    with RESULTS.open("a") as results:
        for done in range(len(todo)):
            while len(running) < jobs and (next_one := done + len(running)) < len(todo):
                pid = start(*todo[next_one])
                running[pid], limits[pid] = todo[next_one], time.monotonic() + 5 * seconds[todo[next_one][0]] + 5
            (path, number), fate = finish(running, limits)
            known[path, number] = fate
            record = {"path": path, "number": number, "fate": fate, "tree": tree, "tests": tests[path]}
            print(json.dumps(record), file=results, flush=True)
            if sys.stderr.isatty():
                print(f"\r{done + 1}/{len(todo)}", end="", file=sys.stderr)
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
    RESULTS.parent.mkdir(exist_ok=True)
    for name in PRELOAD:
        importlib.import_module(name)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})

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
