"""`publish-worker events`: follow the stream, make it anew."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from worker import subscribe
from worker.cli.connect import everything
from worker.cli.output import console, moment, print_json, print_table
from worker.events import redis_stream
from worker.runtime.errors_explained import complain
from worker.subscribe import dead_letters

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Follow the events, make their stream anew, bring back what a subscriber gave up.",
)
dead_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="What a group of subscribers gave up after its last try.",
)
app.add_typer(dead_app, name="dead")
Group = Annotated[str, typer.Option("--group", "-g", help="The consumer group.")]

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
        count = redis_stream.rebuild(here.engine, here.redis, here.settings.public_base_url)
    typer.echo(f"The stream was made anew with {count} events.", err=True)


@dead_app.command(
    name="list",
    epilog="Examples: `publish-worker events dead list --group search`, "
    "`publish-worker events dead list -g search --json | jq .event.data`",
)
def list_dead(
    *,
    group: Group,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """List what a group gave up, the oldest first, with the error of the last try."""
    with everything(redis=True) as here:
        found = list(dead_letters.letters(here.redis, group))
        others = [] if found else dead_letters.groups(here.redis)
    for letter in found if as_json else ():
        print_json(
            {
                "position": letter.position,
                "failed_at": letter.failed_at.isoformat(),
                "attempts": letter.attempts,
                "error": letter.error,
                "consumer": letter.consumer,
                "event": letter.event,
            }
        )
    if found and not as_json:
        print_table(
            ("position", "failed at", "tries", "type", "about", "error"),
            [
                (
                    "none" if letter.position is None else str(letter.position),
                    moment(letter.failed_at),
                    str(letter.attempts),
                    str(letter.event.get("type", "")),
                    str(letter.event.get("subject", "")),
                    letter.error,
                )
                for letter in found
            ],
        )
    if not found:
        elsewhere = f" These have some: {', '.join(others)}." if others else ""
        typer.echo(f"The group {group} has no dead letters.{elsewhere}", err=True)


@dead_app.command(
    epilog="Examples: `publish-worker events dead redrive --group search --position 1041`, "
    "`publish-worker events dead redrive -g search --all`"
)
def redrive(
    *,
    group: Group,
    position: Annotated[int | None, typer.Option(help="This event.", min=1)] = None,
    every: Annotated[bool, typer.Option("--all", help="Every event.")] = False,
) -> None:
    """Deliver them again, to this group alone; their tries count from one."""
    if (position is None) != every:
        raise typer.BadParameter("say either --position or --all")
    with everything(redis=True) as here:
        count = dead_letters.redrive(here.redis, group, position=position)
    typer.echo(f"{count} events go to the group {group} again.", err=True)
    if not every and not count:
        raise typer.Exit(1)


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
