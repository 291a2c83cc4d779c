"""What README and the pages of docs name is there: links, files, modules, commands, options; and their snippets run."""

import ast
import re
import shutil
from importlib.util import find_spec

import pytest

from tests.commands.tools import DATA, LABELS, ROOT, copy_bundle, environment, python
from tests.rooms import House

PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
    if not path.name.startswith(".")
)
FOLDERS = ("runtime", "sdk", "exporters", "tests", "benchmarks", "examples", "docs")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
FILE = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./-]*")
DOTTED = re.compile(r"(?<![\w./-])(?:runtime|sdk|exporters|benchmarks)(?:\.\w+)+")
COMMAND = re.compile(r"\bpython -m ([\w.]+)(?: (\w+))?")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
NOT_OURS = {"pytest", "venv", "pip"}


def text_of(page):
    """A page; of a table of what has moved, only what it is now."""
    lines = (ROOT / page).read_text("utf-8").splitlines(keepends=True)
    moved = False
    for number, line in enumerate(lines):
        moved = line.startswith("| was |") or (moved and line.startswith("|"))
        lines[number] = line.split("|", 2)[2] if moved else line
    return "".join(lines)


def code_of(language):
    """(page, its how-manyeth block of a language, the block)."""
    found = []
    for page in PAGES:
        blocks = [code for name, code in FENCE.findall(text_of(page)) if name == language]
        found += [pytest.param(page, code, id=f"{page}-{i}") for i, code in enumerate(blocks)]
    return found


SNIPPETS = code_of("python")
LEFT = {"docs/datasets.md": "needs the archive of a data set"}  # compiled, its imports looked up, not run


def anchors(page):
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), re.M)}


def anchor(heading):
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links(page):
    return [target for target in LINK.findall(FENCE.sub("", text_of(page))) if "://" not in target]


@pytest.fixture(scope="module")
def house():
    return House(ROOT)


@pytest.fixture(scope="module")
def ours():
    """What is in the repository, folders with a slash behind them too."""
    paths = {path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*")}
    return {str(path) for path in paths} | {f"{path}/" for path in paths} | {f"{folder}/" for folder in FOLDERS}


def test_there_are_pages_and_snippets():
    assert len(PAGES) > 23
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/words.md", "examples/README.md"} <= set(PAGES)
    assert len(SNIPPETS) >= 12
    assert {page for page, _ in (snippet.values for snippet in SNIPPETS)} >= LEFT.keys()


# ---- links


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_anchor_resolves(page):
    for target in links(page):
        name, _, at = target.partition("#")
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        assert path.is_relative_to(ROOT), target
        assert path.exists(), target
        assert not at or at in anchors(str(path.relative_to(ROOT))), target


def test_the_readme_leads_to_every_page():
    assert {page for page in PAGES if page.startswith("docs/")} - set(links("README.md")) == set()


def test_an_anchor_is_made_as_github_makes_it():
    assert anchor("What `int8` costs: a word?") == "what-int8-costs-a-word"
    assert "permissions" in anchors("docs/sources.md")
    assert "with-time-stamps" in anchors("docs/streaming.md")


# ---- files, modules, commands


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page, ours):
    missing = []
    for name in FILE.findall(text_of(page)):
        pattern = re.sub(r"NAME|NN", "[^/]+", re.escape(name.rstrip(".")).replace(r"\-", "-"))
        if not any(re.fullmatch(pattern, path) for path in ([name] if name in ours else ours)):
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_module_and_name_is_there(page, house):
    text = text_of(page)
    named = {name for name in DOTTED.findall(text) if not name.endswith((".py", ".md", ".txt"))}
    for code in (code for language, code in FENCE.findall(text) if language == "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in FOLDERS:
                named |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert sorted(name for name in named if not is_there(house, name)) == []


def is_there(house, dotted):
    """Whether a module, a name in one, or a member of a class in one is there, without importing anything."""
    module, *rest = dotted.split(".")
    if module not in house.files:
        return (ROOT / f"{dotted.replace('.', '/')}.py").exists()
    while rest and f"{module}.{rest[0]}" in house.files:
        module = f"{module}.{rest.pop(0)}"
    if not rest:
        return True
    node = defined(house.trees[source_module(house, module, rest[0])], rest[0])
    return node is not None and (len(rest) == 1 or defined(node, rest[1]) is not None)


def source_module(house, module, name):
    """The file that a face takes a name from."""
    while name in house.faces.get(module, {}):
        module = house.faces[module][name]
    return module


def defined(tree, name):
    """The statement of a module or class that makes a name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return node
    return None


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("runtime.Stream", True),
        ("runtime.Stream.push", True),
        ("runtime.Stream.pull", False),
        ("runtime.bundle.manifest", True),
        ("runtime.manifest", False),
        ("sdk.profile.html.render", True),
        ("sdk.finetune.Nothing", False),
        ("exporters.export_bundle", True),
    ],
)
def test_what_is_not_there_would_be_found(house, name, there):
    assert is_there(house, name) is there


def test_docstrings_and_comments_name_what_is_there(house):
    missing = []
    for name, path in house.files.items():
        said = re.findall(r'"""(?:.*?)"""|#[^\n]*', path.read_text("utf-8"), re.S)
        named = {name for text in said for name in DOTTED.findall(text) if not name.endswith((".py", ".md", "NAME"))}
        missing += [f"{name}: {dotted}" for dotted in named if not is_there(house, dotted)]
    assert missing == []


def test_a_face_is_a_table_of_what_is_there(house):
    """Each of its parts is named, and what is laid out as a part is one."""
    for face in house.faces:
        folder, text = house.files[face].parent, ast.get_docstring(house.trees[face])
        parts = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
        parts -= {part for part in parts if part.startswith("__")}
        laid_out = re.findall(r"^ *([a-z_0-9]+(?:, [a-z_0-9]+)*)/? {2,}\S", text, re.M)
        assert parts - set(re.findall(r"\w+", text)) == set(), face
        assert {part for line in laid_out for part in line.split(", ")} - parts == set(), face


def commands():
    """(page, module, word behind it, options of its line) of every `python -m`."""
    found = []
    for page in PAGES:
        for line in re.sub(r"\\\n\s*", "", text_of(page)).splitlines():
            for part in re.split(r"`|[|;] |  #|  +(?=[a-z])", line):
                for module, word in COMMAND.findall(part):
                    if module not in NOT_OURS:
                        found.append((page, module, word, OPTION.findall(part)))
    return found


@pytest.mark.parametrize("module", sorted({module for _, module, _, _ in commands()}))
def test_every_command_of_ours_exists(module):
    path = ROOT / module.replace(".", "/")
    file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    assert file.is_file()
    assert '__name__ == "__main__"' in file.read_text("utf-8")
    words = {word for _, name, word, _ in commands() if name == module and word}
    if module == "exporters":
        assert words
        assert all((path / "commands" / f"{word}.py").is_file() for word in words)
    if module == "benchmarks":
        assert words
        assert all((path / f"bench_{word}.py").is_file() for word in words)


@pytest.mark.parametrize("module", sorted({module for _, module, _, options in commands() if options}))
def test_every_option_is_one_of_its_command(module):
    path = ROOT / module.replace(".", "/")
    files = [*(path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]), ROOT / "runtime/command.py"]
    known = {option for file in files for option in re.findall(r"--[a-z][\w-]*", file.read_text("utf-8"))}
    named = {option for _, name, _, options in commands() if name == module for option in options}
    assert named - known == set()


# ---- the picture of the house


def test_the_picture_of_the_runtime_is_the_runtime(house):
    """Every room is drawn, and uses only rooms on lines below its own."""
    picture = text_of("docs/README.md").partition("The rooms of the runtime")[2].split("```")[1]
    rooms = house.rooms("runtime")
    at = {f"runtime.{room.strip('/')}": i for i, line in enumerate(picture.splitlines()) for room in line[:46].split()}
    assert at.keys() == rooms.keys()
    upward = [(room, used) for room, below in rooms.items() for used in below if at[used] <= at[room]]
    assert upward == []


def test_every_word_of_the_house_has_its_file():
    rows = [
        line for line in text_of("docs/words.md").splitlines() if line.startswith("| ") and "| what it is |" not in line
    ]
    assert len(rows) > 45
    assert [row for row in rows if not re.search(r"\| `[\w/]+\.py`(, `[\w/]+\.py`)* \|$", row)] == []


# ---- snippets


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the pages take for granted: a bundle, a recording, and the keys of whoever signed the bundle."""
    path = tmp_path_factory.mktemp("docs")
    copy_bundle(path)
    shutil.copy(DATA / "person_6.npz", path / "today.npz")
    return path


@pytest.mark.parametrize(("page", "code"), SNIPPETS)
def test_a_snippet_compiles(page, code):
    compile(code, page, "exec")


@pytest.mark.parametrize(("page", "code"), [s for s in SNIPPETS if s.values[0] not in LEFT])
def test_a_snippet_runs_as_it_stands(page, code, folder):
    if page == "docs/signing.md":
        sign(folder)
    if "openvino" in code and find_spec("openvino") is None:
        pytest.skip('needs openvino: pip install "sensedge[openvino]"')
    done = python("-c", code, cwd=folder, env=environment(SENSEDGE_CACHE=str(folder / "cache"), HOME=str(folder)))
    if page == "docs/tensorrt.md" and find_spec("tensorrt") is None:  # as the page says
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].endswith("(it comes with JetPack)")
        return
    assert (done.returncode, done.stderr) == (0, "")
    assert ("print(" in code) == bool(done.stdout)
    if "prediction.label" in code:
        assert any(label in done.stdout for label in LABELS)


def sign(folder):
    """As docs/signing.md says."""
    pytest.importorskip("cryptography")
    for words in (
        ["keys", "create", "vendor-2026"],
        ["sign", "walk.bundle", "--key", "vendor-2026.pem", "--revision", "3"],
    ):
        done = python("-m", "exporters", *words, cwd=folder)
        assert done.returncode == 0, done.stderr
    (folder / "trusted").mkdir()
    shutil.copy(folder / "vendor-2026.pub", folder / "trusted")
