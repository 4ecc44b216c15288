"""The docs agree with what is there: links, commands, options, tests, roles and files that they name."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
import typer.main

from aiops.cli import app
from pipeline.settings import Settings
from pipeline.tables import TABLES, table_columns

ROOT = Path(__file__).resolve().parent.parent
PLACES = (
    "*.md",
    *(f"{folder}/**/*.md" for folder in ("docs", "terraform", "looker", "templates", "benchmarks")),
)
PAGES = sorted({path.relative_to(ROOT).as_posix() for place in PLACES for path in ROOT.glob(place)})
LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(page: str) -> str:
    """Without what stands in fences: there `[a](b)` is code."""
    return re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)


def links_of(page: str) -> list[tuple[Path, str]]:
    """(file, anchor) of each relative link."""
    found = []
    for target in LINK.findall(prose_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found.append(((ROOT / page).parent / path if path else ROOT / page, anchor))
    return found


def anchors_of(path: Path) -> set[str]:
    """Anchors that GitHub makes of the headings of a page."""
    anchors: list[str] = []
    prose = prose_of(path.relative_to(ROOT).as_posix())
    for heading in re.findall(r"^#{1,6} +(.*?) *$", prose, re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        number = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", known) is not None for known in anchors)
        anchors.append(f"{slug}-{number}" if number else slug)
    return set(anchors)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    """Files and folders are there, and headings that an anchor names."""
    for path, anchor in links_of(page):
        assert path.exists(), path
        if anchor and path.suffix == ".md":
            assert anchor in anchors_of(path.resolve()), f"{path.name}#{anchor}"


def test_every_page_is_found_from_the_readme() -> None:
    """Whoever follows links from the README comes to every page."""
    found, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        if page in found:
            continue
        found.add(page)
        for path, _ in links_of(page):
            target = path.resolve() / "README.md" if path.is_dir() else path.resolve()
            if target.suffix == ".md" and target.is_file():
                waiting.append(target.relative_to(ROOT).as_posix())
    assert set(PAGES) - found == set()


@pytest.mark.parametrize("folder", ["docs/decisions", "docs/runbooks"])
def test_every_folder_of_pages_has_a_list_of_them(folder: str) -> None:
    """What was decided and what to do at night is found in one place each."""
    listed = {path.resolve() for path, _ in links_of(f"{folder}/README.md")}
    assert {path for path in (ROOT / folder).glob("*.md") if path.name != "README.md"} <= listed


@pytest.mark.parametrize("page", PAGES)
def test_no_conflict_was_left_in_a_page(page: str) -> None:
    """A merge that nobody finished does not get out."""
    assert not re.search(r"^(<{7}|>{7}) ", text_of(page), re.MULTILINE)


def command_names(command: object, prefix: str = "aiops") -> set[str]:
    names = {prefix}
    for name, inner in getattr(command, "commands", {}).items():
        names |= command_names(inner, f"{prefix} {name}")
    return names


COMMANDS = command_names(typer.main.get_command(app))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_named_is_there(page: str) -> None:
    """`aiops show incidents` is a command; what is left over are its arguments."""
    for words in re.findall(r"(?:^|`|/| {4})aiops((?: [a-z][a-z|-]+)+)", text_of(page), re.MULTILINE):
        first, *rest = words.split()
        known = {name for name in COMMANDS if name.startswith(f"aiops {first}")}
        assert known, f"aiops {first}"
        if known == {f"aiops {first}"} or not rest:
            continue
        for second in rest[0].split("|"):
            assert f"aiops {first} {second}" in known, f"aiops {first} {second}"


@pytest.mark.parametrize("page", PAGES)
def test_every_option_with_an_underscore_is_one_of_the_job(page: str) -> None:
    """Options of the job are written with _, hardly any of other programs are."""
    others = {"nouse_legacy_sql"}
    named = set(re.findall(r"--([a-z]+(?:_[a-z]+)+)\b", text_of(page)))
    assert named - others <= Settings.model_fields.keys()


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_is_there(page: str) -> None:
    """A claim with a test behind it names one that exists."""
    for name, path in re.findall(r"\[`(test_\w+)`\]\((\S+\.py)\)", text_of(page)):
        code = ((ROOT / page).parent / path).read_text(encoding="utf-8")
        assert f"def {name}(" in code, name


def table_after(page: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without the heads of its columns."""
    below = text_of(page).partition(f"\n{heading}\n")[2]
    rows = re.search(r"(?:^\|.*\|$\n?)+", below, re.MULTILINE)
    assert rows, heading
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in rows[0].splitlines()[2:]]


def test_every_role_is_explained() -> None:
    """The table of roles names each grant of the Terraform module once, with its role."""
    code = (ROOT / "terraform" / "iam.tf").read_text(encoding="utf-8")
    granted = re.findall(
        r'^resource "\w+_iam_member" "(\w+)".*?^  role += "(.+?)"$.*?^}', code, re.MULTILINE | re.DOTALL
    )
    table = table_after("docs/security.md", "## Roles")
    assert sorted((grant.strip("`"), role.strip("`")) for grant, role, *_ in table) == sorted(granted)
    assert len(granted) == code.count('_iam_member"')


def test_every_file_of_the_cloud_says_what_checked_it() -> None:
    """Each file of the template, the Terraform module and the dashboards is in the table, by name or glob."""
    rows = table_after("docs/deploy.md", "## What was checked, and what was not")
    globs = [glob for row in rows for glob in re.findall(r"`([^`]+)`", row[0])]
    files = [
        path.relative_to(ROOT).as_posix()
        for folder in ("templates", "terraform", "looker")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and ".terraform" not in path.parts and path.suffix not in {".pyc", ".tfvars"}
    ]
    assert [name for name in files if not any(fnmatch(name, glob) for glob in globs)] == []
    unused = [glob for glob in globs if "/" in glob and not any(fnmatch(name, glob) for name in files)]
    assert unused == []
    assert all(len(row) == 3 and all(row) for row in rows)


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_what_row_policies_look_at(table: str) -> None:
    """A table without tenant_id could be neither hidden from other tenants nor erased for one."""
    columns = {column.name: column for column in table_columns(table)}
    assert columns["tenant_id"].mode == "REQUIRED"
