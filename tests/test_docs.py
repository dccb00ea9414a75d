import html
import json
import os
import re
import runpy
import subprocess
import sys

import pytest
from mkdocs.exceptions import PluginError

import edgechaos as ec
from tests.processes import ROOT

PAGES = ["OWN_DATA", "OWN_NETWORK", "TRACKING"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    # a proxy that answers nobody: the site must build without network
    environment = {
        **os.environ,
        "NO_MKDOCS_2_WARNING": "1",
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", f"--site-dir={folder}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    return folder


def test_every_public_name_is_documented_once_under_a_topic(site):
    page = (site / "API" / "index.html").read_text()
    # headings of topics, and of the names beneath them
    levels = re.findall(r'<h([23]) id="(?:edgechaos\.)?([\w-]+)"', page)
    topics, names = ([name for found, name in levels if found == level] for level in "23")
    assert topics == ["theory", "scaling-law-and-weight-decay", "dynamics", "training", "diagnosis"]
    assert levels[0][0] == "2"
    assert sorted(names) == sorted(set(ec.__all__) - {"__version__"})
    assert "__all__" not in page


def test_doctests_are_shown_as_code(site):
    text = html.unescape(re.sub(r"<[^>]+>", "", (site / "API" / "index.html").read_text()))
    assert ">>> optimizer = optax.chain(optax.sgd(0.1), hold_at_edge())" in text
    assert "> 0; 1 is the edge of a tanh network" in text


def test_formulas_are_drawn_without_another_host(site):
    pages = {page.parent.name: page.read_text() for page in site.rglob("index.html")}
    assert pages["THEORY"].count("<math ") > 50
    assert 'display="block"' in pages["THEORY"]
    for name, page in pages.items():
        assert not re.search(r"\\[(\[]|arithmatex", page), name
        assert not re.search(r'<(?:script|img|iframe)[^>]+src="?(?:https?:)?//', page), name
        assert not re.search(
            r'<link[^>]+rel="?(?:stylesheet|preconnect|preload|icon)[^>]+href="?(?:https?:)?//', page
        ), name
    for path in site.rglob("*.css"):
        assert not re.search(r"@import|url\([\"']?(?:https?:)?//", path.read_text()), path


def test_a_formula_that_the_converter_does_not_know_ends_the_build(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")  # as mkdocs does
    in_mathml = runpy.run_path(str(ROOT / "docs" / "hooks.py"))["in_mathml"]
    assert in_mathml(r"\chi_1", False, "THEORY.md").startswith("<math ")
    with pytest.raises(
        PluginError, match=r"THEORY.md: the formula '.*nosuchcommand.*' has a command that is not known"
    ):
        in_mathml(r"x + \nosuchcommand", True, "THEORY.md")


def test_every_page_leads_to_the_glossary(site):
    for path in (site / "GLOSSARY").parent.glob("*/index.html"):
        if path.parent.name != "GLOSSARY":
            article = path.read_text().partition("<article")[2].partition("</article>")[0]
            assert 'href="../GLOSSARY/' in article, path.parent.name


def test_links_and_pictures_lead_somewhere(site):
    pages = list(site.rglob("*.html"))
    assert {"THEORY", "FIRST_EDGE", "REPRODUCTION", "BUILD_NOTES"} <= {page.parent.name for page in pages}
    for page in pages:
        if page.name == "404.html":
            continue
        for target in re.findall(r'(?:href|src)="([^"#?]+)[^"]*"', page.read_text()):
            if "://" not in target and not target.startswith(("mailto:", "data:")):
                assert (page.parent / target).exists(), f"{page.relative_to(site)}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_the_pages_run(page, tmp_path):
    """Each in a namespace of its own, all in one process."""
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.S)
    assert examples
    whole = [code if "import edgechaos" in code else f"import edgechaos as ec\n{code}" for code in examples]
    code = f"for example in {whole!r}: exec(compile(example, example, 'exec'), {{'__name__': '__main__'}})"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_script_and_notebook_hold_the_same_cells():
    cells = runpy.run_path(str(ROOT / "docs" / "cells.py"))
    script = (ROOT / "docs" / "first_edge.py").read_text()
    notebook = json.loads((ROOT / "docs" / "first_edge.ipynb").read_text())
    assert notebook == cells["as_notebook"](script), "give the command python docs/cells.py"
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    code = [text for text, cell in zip(sources, notebook["cells"], strict=True) if cell["cell_type"] == "code"]
    assert len(code) == script.count("# %%\n") >= 5
    assert all(line in script for text in code for line in text.splitlines())
    assert "# First edge, step by step" in sources[0]


def test_the_notebook_leads_to_the_edge(tmp_path):
    """Its cells of code in turn, as a kernel executes them."""
    cells = json.loads((ROOT / "docs" / "first_edge.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    in_turn = f"names = {{'__name__': '__main__'}}\nfor code in {code!r}: exec(code, names)"
    result = subprocess.run([sys.executable, "-c", in_turn], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    first, last = re.findall(r"hidden/kernel .*  (\w+)(?:  \(.*\))?$", result.stdout, re.M)
    assert (first, last) == ("ordered", "edge")
    assert (tmp_path / "first_edge.png").read_bytes().startswith(b"\x89PNG")


def test_benchmarks_page_is_that_of_the_recorded_results(tmp_path):
    output = tmp_path / "BENCHMARKS.md"
    command = [sys.executable, "-m", "benchmarks.report", f"--output={output}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert output.read_text() == (ROOT / "docs" / "BENCHMARKS.md").read_text()
