"""House rules that no single tool checks: what a committed file may say, what the wheel holds, what --help loads."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MONITOR = ROOT / "monitor"
HEAVY = ("web3", "eth_", "aiohttp", "pydantic", "sqlalchemy", "numpy", "requests", "websockets", "asyncio")
OF_EXTRAS = {"monitor.tui.app": "textual"}
"""Modules that only work with an extra, and its package."""
DECIDING_ROOMS = ("protocols", "oracles", "health", "policy")
# Floats sort the accounts of a whole market here, by a proven bound; what the bound leaves open is for integers.
SCREENS = (
    "protocols/aave_v3/bound.py",
    "protocols/morpho_blue/bound.py",
    *(f"health/{name}.py" for name in ("band", "book", "inverse", "screen", "shadow", "stress")),
)

# Written with brackets so that this file does not name what it looks for.
REGISTRY_HOSTS = re.compile(
    r"pythonhoste[d]\.org|pyp[i]\.org/simple|registry\.npmj[s]|registry\.yarnpk[g]|deb\.debia[n]\.org"
)
MACHINE_PATHS = re.compile(
    r"/wor[k]/(mai[n]|share[d]|steerin[g]|\.)|/far[m]/|/tmp/la[b]|\.\./share[d]|/roo[t]/|/hom[e]/\w"
)
TOP_LEVEL = {
    "pyproject.toml",
    "README.md",
    "monitor",
    "abis",
    "tests",
    "scripts",
    ".ci",
    ".gitignore",
    ".gitattributes",
}


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)


def tracked_files() -> list[Path]:
    """Every file that is committed or would be with `git add`."""
    listed = run("git", "ls-files", "-co", "--exclude-standard", "-z")
    assert listed.returncode == 0, listed.stderr
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def modules(top: Path = MONITOR) -> list[Path]:
    return sorted(path for path in top.rglob("*.py") if "node_modules" not in path.parts)


def test_every_process_collects_the_same_tests() -> None:
    """Workers that disagree on a test's name run nothing at all, so no name may hold a time, an order of a set or an
    address in memory.
    """
    collected = [
        subprocess.run(
            [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:randomly", "tests"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        ).stdout.splitlines()
        for seed in ("1", "2")
    ]
    first, second = ([line for line in lines if "::" in line] for lines in collected)
    assert len(first) > 1000
    assert first == second


class TestTree:
    @pytest.mark.parametrize("pattern", [REGISTRY_HOSTS, MACHINE_PATHS], ids=["registry hosts", "machine paths"])
    def test_no_file_names(self, pattern: re.Pattern[str]) -> None:
        found = []
        for path in tracked_files():
            text = path.read_bytes().decode("utf-8", errors="replace")
            if match := pattern.search(text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path.relative_to(ROOT)}:{line}: {match.group()}")
        assert found == []

    def test_patterns_find_what_they_look_for(self) -> None:
        """The check above would pass just as well with a pattern that matches nothing."""
        assert REGISTRY_HOSTS.search("https://files.pythonhoste" + "d.org/packages/x.whl")
        assert REGISTRY_HOSTS.search('"resolved": "https://registry.npmj' + 's.org/x.tgz"')
        assert MACHINE_PATHS.search("see /wor" + "k/main/README.md")
        assert MACHINE_PATHS.search("open('.." + "/shared/vectors')")
        assert len(tracked_files()) > 20

    def test_top_level_holds_only_what_it_should(self) -> None:
        assert {path.relative_to(ROOT).parts[0] for path in tracked_files()} <= TOP_LEVEL

    def test_every_module_says_what_it_is(self) -> None:
        assert [path for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))] == []

    def test_no_room_is_empty(self) -> None:
        """A package without a statement of its own is a promise, not a room."""

        def has_code(path: Path) -> bool:
            body = ast.parse(path.read_text()).body
            return any(not isinstance(node, ast.Expr | ast.Import | ast.ImportFrom) for node in body)

        rooms = sorted({path.parent for path in modules()})
        assert [room for room in rooms if not any(map(has_code, modules(room)))] == []
        assert [room for room in rooms if not (room / "__init__.py").is_file()] == []

    def test_no_float_decides(self) -> None:
        """Where it is decided, a number is an integer: no float(), no float literal, no true division."""
        found = [
            f"{path.relative_to(ROOT)}:{line}"
            for path in (module for room in DECIDING_ROOMS for module in modules(MONITOR / room))
            if str(path.relative_to(MONITOR)) not in SCREENS
            for line in float_lines(ast.parse(path.read_text()))
        ]
        assert found == []
        assert all("Proof" in (ast.get_docstring(ast.parse((MONITOR / name).read_text())) or "") for name in SCREENS)
        assert float_lines(ast.parse("a = 10**18 // 3\nb = a / 2\nc = 0.5\nd = float(a)\na /= 2")) == [2, 3, 4, 5]

    def test_locks_are_complete(self) -> None:
        """Every pin has a hash, and what a user installs is the same version that the tests ran with."""
        run_lock, test_lock = (pins(ROOT / "scripts" / "locks" / f"{name}.txt") for name in ("run", "test"))
        assert run_lock.items() <= test_lock.items()
        declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        names = {normalized(re.split(r"[\[><=]", requirement)[0]) for requirement in declared["dependencies"]}
        assert names <= run_lock.keys()


def float_lines(tree: ast.Module) -> list[int]:
    """The lines where a float comes into being."""
    return sorted(
        {
            node.lineno
            for node in ast.walk(tree)
            if (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float")
            or (isinstance(node, ast.Constant) and isinstance(node.value, float))
            or (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div))
        }
    )


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: Path) -> dict[str, str]:
    """Name to version, for a file whose every entry is `name==version ; marker` with at least one hash."""
    found: dict[str, str] = {}
    entries = [entry for entry in re.split(r"\n(?=\S)", lock.read_text()) if not entry.startswith("#")]
    for entry in entries:
        match = re.match(r"([a-z0-9-]+)==([^\s;]+)( ; [^\\]+)? \\\n +--hash=sha256:[0-9a-f]{64}", entry)
        assert match, entry
        found[match[1]] = match[2]
    assert found
    return found


class TestLayers:
    """The rules in pyproject.toml are only worth their lines if breaking one is noticed."""

    @pytest.fixture
    def house(self, tmp_path: Path) -> Path:
        shutil.copytree(MONITOR, tmp_path / "monitor", ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        return tmp_path

    def lint(self, house: Path) -> subprocess.CompletedProcess[str]:
        return run(Path(sys.executable).with_name("lint-imports"), "--no-cache", cwd=house)

    def test_the_house_keeps_them(self, house: Path) -> None:
        result = self.lint(house)
        assert result.returncode == 0, result.stdout

    @pytest.mark.parametrize(
        ("room", "line"),
        [
            ("core", "import monitor.cli"),
            ("core", "from datetime import datetime"),
            ("protocols", "import monitor.chain"),
            ("protocols", "import asyncio"),
            ("oracles", "import time"),
            ("oracles", "import monitor.protocols"),
            ("protocols", "import monitor.health"),
            ("health", "import web3"),
            ("health", "import monitor.policy"),
            ("policy", "import aiohttp"),
            ("policy", "import monitor.chain"),
            ("chain", "import monitor.cli"),
            ("cli", "import monitor.testing"),
        ],
    )
    def test_a_broken_one_is_noticed(self, house: Path, room: str, line: str) -> None:
        (house / "monitor" / room / "intruder.py").write_text(f'"""Does what it may not."""\n{line}\n')
        result = self.lint(house)
        assert result.returncode == 1, result.stdout
        assert f"monitor.{room}.intruder -> {line.split()[1]}" in result.stdout.replace("\n", " ")

    def test_a_room_without_a_place_is_noticed(self, house: Path) -> None:
        (house / "monitor" / "attic").mkdir()
        (house / "monitor" / "attic" / "__init__.py").write_text('"""A room that nobody planned."""\n')
        result = self.lint(house)
        assert result.returncode == 1, result.stdout
        assert "attic" in result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `pip install levmon` would get it, built from this tree."""
    target = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target)
    assert built.returncode == 0, built.stderr
    (path,) = target.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def user_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a user's environment: the wheel, and of what is installed here only the run-time lock.

    The dependencies are linked rather than installed: the lock was already installed from its hashes by scripts/setup.
    """
    home = tmp_path_factory.mktemp("user") / "venv"
    made = run(sys.executable, "-m", "venv", "--without-pip", home)
    assert made.returncode == 0, made.stderr
    python = home / "bin" / "python"
    (site_packages,) = home.glob("lib/python3*/site-packages")
    installed = run(
        sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel
    )
    assert installed.returncode == 0, installed.stderr
    for name in pins(ROOT / "scripts" / "locks" / "run.txt").keys() - {"pywin32"}:
        one = distribution(name)
        for top in {file.parts[0] for file in one.files or [] if file.parts[0] not in {"..", "__pycache__"}}:
            link = site_packages / top
            if not link.exists():
                link.symlink_to(Path(str(one.locate_file(top))))
    return python


class TestWheel:
    def test_holds_the_package_and_nothing_else(self, wheel: Path) -> None:
        names = zipfile.ZipFile(wheel).namelist()
        assert {name.split("/")[0] for name in names} == {"monitor", "levmon-0.1.0.dist-info"}
        assert "monitor/py.typed" in names
        assert not [name for name in names if re.search(r"(^|/)(tests?|abis|node_modules|__pycache__)/", name)]

    def test_abis_are_inside_the_package(self, wheel: Path) -> None:
        names = zipfile.ZipFile(wheel).namelist()
        shipped = {Path(name).name for name in names if name.startswith("monitor/_abis/")}
        assert shipped == {path.name for path in (ROOT / "abis").iterdir()}
        assert any(name.endswith(".json") for name in shipped)

    def test_needs_only_the_run_time_lock(self, user_python: Path) -> None:
        """Every module but the test kit and what an extra is for imports in a user's environment, and from there, not
        from this tree.
        """
        names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules()]
        names = [name.removesuffix(".__init__") for name in names]
        names = [name for name in names if not name.startswith("monitor.testing") and not name.endswith("__main__")]
        names = [name for name in names if name not in OF_EXTRAS]
        code = (
            "import importlib, sys, monitor\n"
            "for name in sys.argv[1:]: importlib.import_module(name)\n"
            "print(monitor.__file__)"
        )
        result = run(user_python, "-I", "-c", code, *names, cwd=user_python.parent)
        assert result.returncode == 0, result.stderr
        assert Path(result.stdout.strip()).is_relative_to(user_python.parents[1])

    @pytest.mark.parametrize(("name", "package"), OF_EXTRAS.items())
    def test_what_an_extra_is_for_misses_only_its_package(self, user_python: Path, name: str, package: str) -> None:
        result = run(user_python, "-I", "-c", f"import {name}", cwd=user_python.parent)
        assert result.stderr.strip().endswith(f"ModuleNotFoundError: No module named '{package}'")

    def test_protocols_find_their_abis(self, user_python: Path) -> None:
        result = run(user_python.with_name("levmon"), "protocols", cwd=user_python.parent)
        assert result.returncode == 0, result.stderr
        assert "aave-v3" in result.stdout


def test_help_loads_nothing_heavy(user_python: Path) -> None:
    """What `levmon --help` has loaded when it ends, run as the installed command."""
    script = str(user_python.with_name("levmon"))
    code = (
        "import atexit, runpy, sys\n"
        f"sys.argv = [{script!r}, '--help']\n"
        "atexit.register(lambda: print('\\nloaded', *sorted(sys.modules)))\n"
        f"runpy.run_path({script!r}, run_name='__main__')\n"
    )
    result = run(user_python, "-I", "-c", code, cwd=user_python.parent)
    assert result.returncode == 0, result.stderr
    usage, _, loaded = result.stdout.rpartition("\nloaded")
    assert "Usage" in usage
    assert "monitor.cli" in loaded.split()
    assert [name for name in loaded.split() if name.startswith(HEAVY)] == []


@pytest.fixture(scope="module")
def mutation() -> Any:
    spec = importlib.util.spec_from_file_location("mutation", ROOT / "scripts" / "mutation.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestMutation:
    """What scripts/mutate changes: its score means something only if it leaves no kind of slip out."""

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("a < b", {"a <= b", "a >= b"}),
            ("a == b != c", {"a != b != c", "a == b == c"}),
            ("a in b and c is d", {"a in b or c is d", "a not in b and c is d", "a in b and c is not d"}),
            ("a + b * c", {"a - b * c", "a + b // c"}),
            ("-a // b", {"-a * b", "a // b"}),
            ("a >> b & c", {"a << b & c", "a >> b | c"}),
            ("a if b else c", {"a if not b else c"}),
            ("f(True, 0)", {"pass", "f(False, 0)", "f(True, 1)"}),
            ("x = 10", {"x = 11", "x = 9"}),
            ("x = 'WETH'", {"x = 'WETH_'"}),
            ("x = 'text for people'", set()),
            ("x: 'Asset' = min(y)", {"x: 'Asset' = max(y)"}),
            ("x = mul_div_down(mul_div_up)", {"x = mul_div_up(mul_div_up)", "x = mul_div_down(mul_div_down)"}),
            ("x = mul_div_down(y)", set()),
            ("x += y", {"x -= y"}),
            ("while a:\n    break", {"while not a:\n    break", "while a:\n    continue"}),
            ("Wad = NewType('Wad', int)", set()),
            (
                "@f(1)\ndef g() -> 2:\n    'Docstring.'\n    return not a",
                {'@f(1)\ndef g() -> 2:\n    """Docstring."""\n    return a'},
            ),
        ],
    )
    def test_makes_every_change(self, mutation: Any, source: str, expected: set[str]) -> None:
        changed = []
        for number in range(len(mutation.mutants(ast.parse(source)))):
            tree = ast.parse(source)
            mutation.mutants(tree)[number].apply()
            changed.append(ast.unparse(tree))
        assert sorted(changed) == sorted(expected)

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("def f(a):\n    return a + 1", "def f(a):\n    return a + 2", ["f"]),
            ("class A:\n    def f(self):\n        return 1", "class A:\n    def f(self):\n        return 2", ["A.f"]),
            ("def f():\n    return [x for x in 'ab']", "def f():\n    return [x for x in 'ac']", ["f"]),
            ("def f(): return 1\ndef g(): return 1", "def f(): return 1\ndef g(): return 2", ["g"]),
            ("A = 1", "A = 2", None),
            ("A = 1", "A = True", None),
            ("def f(a=1): pass", "def f(a=2): pass", None),
            ("class A:\n    b = 1", "class A:\n    b = 2", None),
            ("f = lambda: 1", "f = lambda: 2", None),
            ("A = 1", "A = 1", []),
        ],
    )
    def test_exchanges_only_what_import_does_not_run(
        self, mutation: Any, old: str, new: str, expected: list[str] | None
    ) -> None:
        before, after = (compile(text, "module.py", "exec") for text in (old, new))
        swaps = mutation.lab.patch(before, after)
        assert (swaps if swaps is None else [swap.name for swap in swaps]) == expected

    def test_finds_functions_under_their_decorators(self, mutation: Any) -> None:
        module = types.ModuleType("module")
        text = (
            "import functools\nclass A:\n    @property\n    def f(self): return %d\n"
            "    @staticmethod\n    @functools.cache\n    def g(): return %d\n"
        )
        before, after = (compile(text % n, "module.py", "exec") for n in ((1, 1), (2, 2)))
        exec(before, vars(module))  # noqa: S102  # a module of three lines
        for swap in mutation.lab.patch(before, after):
            mutation.lab.function(module, swap).__code__ = swap.code
        assert (module.A().f, module.A.g()) == (2, 2)
