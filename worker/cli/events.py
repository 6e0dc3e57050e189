"""`publish-worker events`: follow the stream, make it anew."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from worker import relay, subscribe
from worker.cli.opening import everything
from worker.cli.printing import console, print_json
from worker.preflight import complain

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Follow the events, or make their stream anew.",
)

COLOURS = {
    "video.published": "green",
    "video.unpublished": "blue",
    "video.publish_scheduled": "magenta",
    "video.publish_rescheduled": "magenta",
    "video.publish_cancelled": "yellow",
}


@app.command(
    epilog="Examples: `publish-worker events tail --from 1`, "
    "`publish-worker events tail --json | jq .data.url`"
)
def tail(
    *,
    first: Annotated[
        int | None,
        typer.Option("--from", help="Begin with this position; else with the next event.", min=0),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="CloudEvents documents, one per line.")
    ] = False,
) -> None:
    """Print every event as it happens, in order, until Ctrl-C."""
    after = None if first is None else max(first - 1, 0)
    with everything(redis=True) as here:
        try:
            for received in subscribe.follow(here.redis, after):
                _print(received, as_json=as_json)
        except KeyboardInterrupt:
            return


@app.command()
def rebuild() -> None:
    """Make the stream anew from the outbox, with the same positions; consumer groups go.

    For a stream that is damaged or belongs to another database. A lost one comes back by itself.
    """
    with everything(redis=True) as here:
        count = relay.rebuild(here.engine, here.redis, here.settings.public_base_url)
    typer.echo(f"The stream was made anew with {count} events.", err=True)


def _print(received: subscribe.Received | subscribe.Missing | None, *, as_json: bool) -> None:
    match received:
        case subscribe.Missing(first=first, last=last):
            complain(f"positions {first} to {last} are not on the stream any more.")
        case subscribe.Received(event=event) if as_json:
            print_json(event)
        case subscribe.Received(position=position, event=event):
            console().print(_line(position, event), soft_wrap=True)
        case None:
            pass


def _line(position: int, event: dict[str, Any]) -> str:
    data = event["data"]
    told = f"{data['title']!r}  {data['url']}" if "url" in data else data.get("detail", "")
    colour = COLOURS.get(event["type"], "red")
    return (
        f"{position:>6}  {event['time'][:23]}  [{colour}]{event['type']:<22}[/]  "
        f"video {event['subject']:<6} {escape(told)}"
    )
