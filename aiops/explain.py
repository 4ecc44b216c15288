"""`aiops explain`: one incident in Gemini's words, by hand, with prompt, answer, checks and cost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from aiops.query import open_store
from aiops.show_output import DEFAULT_STORE, AsJson, Store, print_json
from aiops.text import visible_text
from pipeline.duckdb_store import DuckDBStore
from transforms.analyze.analyst import Analyst
from transforms.analyze.memory import TenantMemory
from transforms.analyze.narrative import NarrativePrompt, add_template, build_narrative_prompt
from transforms.analyze.settings import DEFAULT_MODEL, AnalyzeSettings
from transforms.clock import wall_clock_us
from transforms.elements import MICROSECONDS
from transforms.gemini_elements import GeminiCall
from transforms.incident_elements import Incident

SEVERE_ENOUGH: Final = "high"
UNBOUNDED: Final = 10**12


def explain(
    incident: Annotated[str, typer.Argument(help="Id of the incident, or how it begins.")],
    *,
    store: Store = DEFAULT_STORE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the prompt; send nothing.")] = False,
    model: Annotated[str, typer.Option("--gemini_model", help="Model on Vertex AI.")] = DEFAULT_MODEL,
    project: Annotated[str, typer.Option("--gemini_project", help="Project that pays.")] = "",
    location: Annotated[str, typer.Option("--gemini_location", help="Where it is asked.")] = "global",
    base_url: Annotated[str, typer.Option("--gemini_base_url", help="Another server of the same API.")] = "",
    prices: Annotated[str, typer.Option("--gemini_prices", help="YAML file of prices.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask Gemini about one incident, and show prompt, answer, checks and cost.

    The store stays as it is. Exit code 1: no such incident, or no answer that could be believed.
    """
    with open_store(store) as opened:
        found = find_incident(opened, incident)
    prompt = build_narrative_prompt(found)
    if dry_run:
        _print_prompt(prompt, as_json=as_json)
        return
    from pipeline.gemini_client import GeminiSettings
    from pipeline.operator_files import FileUnreadableError
    from pipeline.prices_source import PricesError, read_price_file

    try:
        known_prices = read_price_file(prices)
    except (PricesError, FileUnreadableError) as error:
        typer.echo(f"Error: {visible_text(str(error))}", err=True)
        raise typer.Exit(2) from None
    settings = AnalyzeSettings(
        model=model, tokens_per_day=UNBOUNDED, requests_per_day=UNBOUNDED, prices=known_prices
    )
    client = GeminiSettings(model, project, location, base_url).connect()
    answer = _Listening(client)
    now_us = wall_clock_us()
    analyzed = list(Analyst(settings, answer).narrate(TenantMemory(), _severe(found), now_us))
    call = next(one.call for one in analyzed if one.call is not None)
    told = next((one.incident for one in analyzed if one.incident is not None), None)
    narrative = (told or add_template(_severe(found))).narrative
    if as_json:
        print_json(
            {"prompt": prompt.text, "answer": answer.text, "outcome": call.outcome, "reason": call.reason}
            | {"narrated_by": "gemini" if told else "template", "narrative": narrative}
            | {"tokens_in": call.tokens_in, "tokens_out": call.tokens_out, "cost_usd": call.cost_usd}
        )
    else:
        _print_prompt(prompt, as_json=False)
        _print_answer(answer.text, narrative, call)
    if told is None:
        raise typer.Exit(1)


class _Listening:
    """A model that keeps what it was told."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.text = ""

    def ask(self, system: str, text: str, schema: dict[str, Any]) -> Any:
        reply = self._model.ask(system, text, schema)
        self.text = reply.text
        return reply


def find_incident(store: DuckDBStore, beginning: str) -> Incident:
    """The last revision of the one incident whose id begins so; else the command ends with code 1."""
    if not beginning.isalnum():
        raise typer.BadParameter(
            "an id has letters and digits alone; `aiops show` lists them", param_hint="INCIDENT"
        )
    rows = store.query(
        "SELECT * EXCLUDE (written_at) FROM current_incidents WHERE starts_with(incident_id, $id) "
        "ORDER BY opened_at DESC LIMIT 2",
        {"id": beginning},
    )
    if len(rows) != 1:
        said = "More than one incident begins" if rows else "No incident begins"
        mend = "Give more of its id." if rows else "The table incidents of the store holds their ids."
        typer.echo(f"Error: {said} with {beginning}. {mend}", err=True)
        raise typer.Exit(1)
    return _incident_of(rows[0])


def _incident_of(row: Mapping[str, Any]) -> Incident:
    import msgspec

    return msgspec.convert(_micros(row), Incident)


def _micros(value: Any) -> Any:
    """Times of a row as elements have them."""
    if isinstance(value, datetime):
        return round(value.timestamp() * MICROSECONDS)
    if isinstance(value, Mapping):
        return {name: _micros(inner) for name, inner in value.items()}
    return [_micros(inner) for inner in value] if isinstance(value, list) else value


def _severe(incident: Incident) -> Incident:
    """By hand an incident of any severity is told of."""
    from msgspec.structs import replace

    return replace(incident, severity=SEVERE_ENOUGH) if incident.severity in {"low", "medium"} else incident


def _print_prompt(prompt: NarrativePrompt, *, as_json: bool) -> None:
    if as_json:
        print_json({"system": prompt.system, "prompt": prompt.text, "tokens_estimated": prompt.tokens})
        return
    console = Console()
    console.print(Text(f"Prompt {prompt.version}, about {prompt.tokens:,} tokens", style="bold"))
    console.print(Text(visible_text(prompt.system)))
    console.print(Text(visible_text(prompt.text)))


def _print_answer(answer: str, narrative: str, call: GeminiCall) -> None:
    console = Console()
    console.print(Text("\nAnswer, as it came", style="bold"))
    console.print(Text(visible_text(answer, 5_000) or f"none: {call.reason}"))
    believed = call.outcome == "answered"
    said = "Checked: facts are code's, Gemini's words are cleaned" if believed else "Not used; the template"
    console.print(Text(f"\n{said}", style="bold"))
    console.print(Text(visible_text(narrative)))
    requests = "1 request" if call.attempts == 1 else f"{call.attempts} requests"
    cost = "no price known" if call.cost_usd is None else f"${call.cost_usd:.6f}"
    console.print(
        Text(
            f"\n{call.tokens_in:,} tokens in, {call.tokens_out:,} out, {cost}, {call.latency_ms:,} ms, "
            f"{requests}, {call.outcome} {call.reason}".rstrip(),
            style="dim",
        )
    )
