"""`aiops doctor`: checks of what the job needs, each with its mend."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from aiops.show_output import AsJson
from aiops.text import visible_text


def doctor(
    context: typer.Context,
    *,
    canary: Annotated[
        bool, typer.Option("--canary", help="Send a canary through the running job, and wait for its alert.")
    ] = False,
    logs_topic: Annotated[
        str, typer.Option(metavar="TOPIC", help="Where logs come in; that of --input_subscription.")
    ] = "",
    alert_subscription: Annotated[
        str,
        typer.Option(metavar="SUBSCRIPTION", help="Wait here, where nobody else reads; else one is made."),
    ] = "",
    canary_tenant: Annotated[
        str, typer.Option(metavar="PROJECT", help="Tenant of the canary; the project of the topic.")
    ] = "",
    timeout: Annotated[
        int, typer.Option(min=1, max=3600, metavar="SECONDS", help="Wait so long for the canary's alert.")
    ] = 300,
    as_json: AsJson = False,
) -> None:
    """Check all that the job needs, from its options to its alerts, and say how to mend what is wrong."""
    from aiops.doctor.checks import Check, worst
    from aiops.doctor.examination import examine
    from aiops.doctor.output import Printed
    from aiops.doctor.wishes import check_wishes
    from aiops.run import STOPPED, signals_raised
    from pipeline.options import parse_options
    from pipeline.settings import OptionsError

    try:
        settings, _ = parse_options(context.args, "aiops doctor")
        wishes = check_wishes(
            settings,
            canary=canary,
            logs_topic=logs_topic,
            alert_subscription=alert_subscription,
            canary_tenant=canary_tenant,
            timeout_seconds=timeout,
        )
    except OptionsError as error:
        typer.echo(f"Error: {visible_text(str(error))}", err=True)
        raise typer.Exit(2) from None
    checks: list[Check] = []
    printed = Printed(Console(), as_json=as_json)
    try:
        with signals_raised() as stop:
            for check in examine(settings, wishes, datetime.now(UTC)):
                checks.append(check)
                printed.add(check)
    except KeyboardInterrupt:
        printed.end(checks, stopped=True)
        raise typer.Exit(STOPPED.get(stop.signal_number or 0, 130)) from None
    printed.end(checks)
    raise typer.Exit(1 if worst(checks) == "failed" else 0)
