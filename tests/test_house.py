"""The rules of the house that no other tool checks: sizes, names, addresses, Makefile, lock."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CODE_FOLDERS = ("fmrgb_stream", "tools", "benchmarks")
LINES_AT_MOST = 300
VAGUE_NAMES = {"common", "helper", "helpers", "manager", "misc", "processor", "util", "utils"}
TARGETS = {
    *("demo", "test", "check", "bench", "install", "fmt"),
    *("lint", "types", "imports", "docs", "clean"),
}
IMPORT_NAMES = {"opencv-python-headless": "cv2", "pillow": "PIL"}
# Core dependencies that the package itself need not import, and why they are there.
UNIMPORTED = {
    "pyyaml": "jsonargparse reads --config files with it",
    "torchaudio": "pinned with torch, so that a user's own is not another build",
    "torchvision": "timm imports it, and it must match torch",
}
# Written with classes of one letter, so that this file does not match itself.
MACHINE_PATH = re.compile(r"(?<![\w.})>*-])/(?:wor[k]|roo[t]|opt/pyp[i])(?![\w-])")
REGISTRY = re.compile(
    r"pyp[i]\.org|pythonhoste[d]\.org|npmj[s]\.|download\.pytorc[h]\.org|de[b]\.debian\.org"
)
LOCKED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)((?:[^\n]*\\\n)+[^\n]*)", re.MULTILINE)


def code_files() -> list[Path]:
    return [file for folder in CODE_FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]


def project_files() -> list[Path]:
    """Every file that is, or would be, under version control."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    named = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [file for file in named if file.is_file()]


def text_lines(file: Path) -> list[str]:
    content = file.read_bytes()
    return [] if b"\0" in content else content.decode("utf-8").splitlines()


def lines_matching(pattern: re.Pattern) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{number}"
        for file in project_files()
        for number, line in enumerate(text_lines(file), start=1)
        if pattern.search(line)
    ]


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def direct_requirements() -> list[Requirement]:
    """What requirements.lock has to hold: the core, the extra `dev` with its extras, the builder."""
    project = pyproject()["project"]
    waiting = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    found = [Requirement(text) for text in pyproject()["build-system"]["requires"]]
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name == project["name"]:
            for extra in requirement.extras:
                waiting += project["optional-dependencies"][extra]
        else:
            found.append(requirement)
    return found


def imported_modules(tree: ast.Module) -> set[str]:
    """Every module named by an import statement, inside functions too."""
    plain = (node for node in ast.walk(tree) if isinstance(node, ast.Import))
    partial = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {alias.name for node in plain for alias in node.names} | {
        str(node.module) for node in partial
    }


def locked() -> dict[str, tuple[str, str]]:
    """Name -> (version, the rest of its entry)."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return {name: (version, rest) for name, version, rest in LOCKED.findall(text)}


def makefile_rules() -> dict[str, str]:
    """Target -> the rest of its line."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z][a-z-]*):(?!=)(.*)$", text, re.MULTILINE))


def test_no_module_is_too_long():
    sizes = {str(file.relative_to(ROOT)): len(text_lines(file)) for file in code_files()}
    assert {file: size for file, size in sizes.items() if size > LINES_AT_MOST} == {}


def test_every_module_has_a_docstring():
    bare = [
        str(file.relative_to(ROOT))
        for file in code_files()
        if not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert bare == []


def test_no_file_has_a_name_that_says_nothing():
    words = {file: set(file.stem.lower().split("_")) for file in project_files()}
    vague = [str(file.relative_to(ROOT)) for file in words if words[file] & VAGUE_NAMES]
    assert vague == []


def test_no_file_names_a_path_of_one_machine():
    assert lines_matching(MACHINE_PATH) == []


def test_no_file_names_a_package_registry():
    assert lines_matching(REGISTRY) == []


def test_every_make_target_says_what_it_does():
    assert [target for target, rest in makefile_rules().items() if "## " not in rest] == []


def test_makefile_has_the_promised_targets():
    assert TARGETS - makefile_rules().keys() == set()


def test_every_make_target_is_phony():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY:(.*)$", text, re.MULTILINE)
    assert phony is not None
    assert set(phony.group(1).split()) == makefile_rules().keys()


def test_lock_satisfies_every_direct_requirement():
    entries = locked()
    unmet = [
        str(requirement)
        for requirement in direct_requirements()
        if (name := canonicalize_name(requirement.name)) not in entries
        or not requirement.specifier.contains(entries[name][0])
    ]
    assert unmet == [], "requirements.lock is behind pyproject.toml: make lock"


def test_every_core_dependency_is_imported_by_the_package():
    names = {Requirement(text).name for text in pyproject()["project"]["dependencies"]}
    modules = {name: IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in code_files()]
    imported = {name.split(".")[0] for tree in trees for name in imported_modules(tree)}
    unused = {name for name, module in modules.items() if module not in imported}
    assert unused - UNIMPORTED.keys() == set()


def test_every_core_dependency_says_what_it_is_for():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = {
        name
        for line in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)
        for name in re.findall(r"[a-z][\w-]+", line)
    }
    names = {Requirement(line).name for line in pyproject()["project"]["dependencies"]}
    assert names - table == set()


def test_lock_has_a_hash_for_every_package():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = locked()
    assert len(entries) == len(re.findall(r"^[a-z0-9]", text, re.MULTILINE))
    assert [name for name, entry in entries.items() if "--hash=sha256:" not in entry[1]] == []


def test_torch_and_its_family_are_the_set_that_works_together():
    entries = locked()
    versions = {name: entries[name][0] for name in ("torch", "torchaudio", "torchvision")}
    assert versions == {"torch": "2.11.0", "torchaudio": "2.11.0", "torchvision": "0.26.0"}
