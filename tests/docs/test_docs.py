"""The documentation's site: it builds without a warning, no link is broken, nothing is loaded from elsewhere, and the
reference holds every public name, with shapes and units."""

import ast
import re
import tomllib
from functools import cache
from urllib.parse import unquote, urldefrag

import docs_site
import pytest
import typer
from docs_site import ROOT, Page

import prunekit
from prunekit.cli.app import build_app

# docs_site puts their folder on the path
import command_line  # isort: skip
import outside  # isort: skip
import reference  # isort: skip


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    return docs_site.built(tmp_path_factory)


@cache
def read(path):
    return Page(path)


def pages(site):
    found = sorted(site.rglob("*.html"))
    assert len(found) > 100
    return found


# ---- links and what is loaded


def test_no_link_is_broken(site):
    broken = []
    for path in pages(site):
        for link in (*read(path).links, *read(path).loaded):
            address, anchor = urldefrag(link)
            there = (path.parent / unquote(address)).resolve() if address else path
            if address.startswith("/") or ":" in address.split("/")[0]:
                continue  # the next test's
            if path.name == "404.html":
                continue  # its links are from the root of wherever the site is put
            if not there.is_file():
                broken.append(f"{path.relative_to(site)}: {link}")
            elif anchor and there.suffix == ".html" and unquote(anchor) not in read(there).ids:
                broken.append(f"{path.relative_to(site)}: {link} (no such anchor)")
    assert broken == []


def test_no_page_names_or_loads_another_address(site):
    named = [
        f"{path.relative_to(site)}: {link}"
        for path in pages(site)
        for link in (*read(path).links, *read(path).loaded)
        if re.match(r"([a-z]+:)?//|javascript:|mailto:", link)
    ]
    assert named == []
    for sheet in site.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert re.findall(r"""(?:url\(|@import)\s*['"]?(?:https?:)?//""", text) == [], sheet.name
    inside = re.compile(r"""(?:src|href|action)=["'](?:https?:)?//|url\((?:https?:)?//|@import""")
    assert [path.name for path in pages(site) if inside.search(path.read_text(encoding="utf-8"))] == []


def test_fonts_are_the_readers_own(site):
    assert "fonts.g" not in "".join(path.read_text(encoding="utf-8") for path in pages(site))
    fonts = [path for path in site.rglob("*") if path.suffix in (".woff", ".woff2", ".ttf")]
    assert fonts == []


# ---- the reference


def public(tree, prefix):
    """Public classes, functions and methods with their whole names, and the class around a method."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{prefix}.{node.name}", node, tree if isinstance(tree, ast.ClassDef) else None
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{prefix}.{node.name}")


@cache
def trees():
    """Module -> its syntax tree."""
    return {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in reference.modules(ROOT).items()}


@cache
def every():
    """(module, name, node, the class around it) of all public names."""
    return [(module, *named) for module, tree in trees().items() for named in public(tree, module)]


# what numbers are called in the glossary, which says their unit once for all
NAMED = set(
    re.findall(r"`(\w+)`", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").split("## Names of numbers")[1])
)
_ARRAY = re.compile(r"\b(Tensor|NDArray|ndarray|Floats)\b")


def said_of(node, around):
    """All that is told of a name: its docstring, its class's and its constructor's."""
    body = node.body if isinstance(node, ast.ClassDef) else []
    init = [one for one in body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
    told = [ast.get_docstring(one) or "" for one in (node, around, *init) if one is not None]
    return " ".join(told)


@cache
def about(module):
    return ast.get_docstring(trees()[module]) or ""


def given(node):
    """(name, annotation, whether its own line describes it) of the parameters or fields of a public name."""
    body = node.body if isinstance(node, ast.ClassDef) else []
    for place, item in enumerate(body):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and not item.target.id.startswith("_"):
            behind = body[place + 1] if place + 1 < len(body) else None
            told = isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant)
            told |= "description=" in ast.unparse(item) or " description" in ast.unparse(item)
            yield item.target.id, ast.unparse(item.annotation), told
    init = next((one for one in body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    function = node if isinstance(node, ast.FunctionDef) else init
    for one in [*function.args.args, *function.args.kwonlyargs] if function is not None else ():
        if one.annotation is not None:
            kind = ast.unparse(one.annotation)
            yield one.arg, kind, "help=" in kind  # a flag says what it is


def test_every_public_name_is_in_the_reference_with_its_docstring(site):
    interface = read(site / "reference" / "prunekit.html").ids
    missing = [
        name
        for module, name, node, _ in every()
        if name not in read(site / "reference" / f"{module}.html").ids | interface or not ast.get_docstring(node)
    ]
    assert missing == []


def test_what_import_prunekit_gives_comes_first_and_internals_not_at_all(site):
    written = reference.public()
    assert set(prunekit.__all__) - {"__version__"} == set(written)
    assert set(written.values()) <= read(site / "reference" / "prunekit.html").ids
    shown = {name for path in (site / "reference").glob("*.html") for name in read(path).ids}
    assert [name for name in shown if re.search(r"^prunekit[.]cli\b|[.]_", name)] == []


def test_every_module_that_the_reference_names_is_there():
    assert [name for name, path in reference.modules(ROOT).items() if not path.is_file()] == []


def test_every_array_has_its_shape_and_every_table_its_columns():
    missing = []
    for _, name, node, around in every():
        said = said_of(node, around)
        returned = ast.unparse(node.returns) if isinstance(node, ast.FunctionDef) and node.returns else ""
        for what, kind, _ in [*given(node), ("what it returns", returned, False)]:
            if re.search("Callable|Mapping|dict", kind):  # what is kept by name is of any shape
                continue
            if _ARRAY.search(kind) and not re.search(r"\[[^\]]*\]", said):
                missing.append(f"{name}: the shape of {what}")
        if re.fullmatch(r"pd[.]DataFrame( [|] None)?", returned) and not re.search(
            r"[Cc]olumn|`[A-Z_]+`|\brows?\b", said
        ):
            missing.append(f"{name}: its columns")
    assert missing == []


def test_every_number_has_a_unit_or_a_name_of_the_glossary():
    missing = []
    for module, name, node, around in every():
        words = NAMED.union(re.findall(r"\w+", f"{said_of(node, around)} {about(module)}"))
        for what, kind, told in given(node):
            number = re.search(r"\b(int|float|Count)\b", kind) and not re.search(r"Callable|Mapping|dict|Literal", kind)
            if number and not told and what not in words:
                missing.append(f"{name}: {what}")
    assert missing == []


def test_the_command_line_page_holds_every_verb_and_flag():
    text = command_line.page()

    def check(command, name):
        for word, one in getattr(command, "commands", {}).items():
            check(one, f"{name} {word}")
            assert f"## {name} {word} " in text
        for option in command.params:
            for flag in (*option.opts, *option.secondary_opts):
                assert option.param_type_name == "argument" or option.name == "help" or f"<code>{flag}</code>" in text

    check(typer.main.get_command(build_app()), "prunekit")


# ---- what is made


def test_links_of_files_outside_lead_to_the_site_or_nowhere():
    places = {"docs/ideas.md": "ideas.md", "analyses/studies/README.md": "studies/index.md"}
    text = "[a](../../docs/ideas.md#x) [b](../../prunekit/cli.py) ![c](no.svg) [d](README.md) [e](https://x.y)\n```\n[f](g)\n```\n"
    made = outside.relinked(text, "analyses/studies/one.md", places, "studies/one.md")
    assert made == "[a](../ideas.md#x) b c [d](index.md) e\n```\n[f](g)\n```\n"


def test_studies_are_shown_where_there_are_any(tmp_path):
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n0.1.0\n")
    (tmp_path / "CONTRIBUTING.md").write_text("# How\n")
    bare = outside.read(tmp_path)
    assert bare.studies == ["studies/index.md"]
    assert "No study" in bare.texts["studies/index.md"]
    assert bare.texts["changelog.md"] == "# Changes\n\n0.1.0\n"
    folder = tmp_path / "analyses" / "studies"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("# Studies\n\n[ranks](ranks.md) ![](ranks.svg)\n")
    (folder / "ranks.md").write_text("# Ranks\n\n[all](README.md)\n")
    (folder / "ranks.svg").write_text("<svg/>")
    found = outside.read(tmp_path)
    assert found.studies == ["studies/index.md", "studies/ranks.md"]
    assert found.texts["studies/index.md"] == "# Studies\n\n[ranks](ranks.md) ![](ranks.svg)\n"
    assert found.texts["studies/ranks.md"] == "# Ranks\n\n[all](index.md)\n"
    assert found.copies == {"studies/ranks.svg": folder / "ranks.svg"}


# ---- what stands beside it


def test_licence_citation_and_version_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert project["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
    assert f"version: {project['version']}\n" in cited
    assert "license: Apache-2.0\n" in cited


def test_every_page_is_in_the_navigation_or_linked(site):
    linked = {
        (path.parent / unquote(urldefrag(link)[0])).resolve()
        for path in pages(site)
        for link in read(path).links
        if urldefrag(link)[0]
    }
    lost = [
        path.name
        for path in pages(site)
        if path.resolve() not in linked and path.name not in ("404.html", "index.html")
    ]
    assert lost == []
