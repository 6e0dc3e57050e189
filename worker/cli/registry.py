"""Every command of `publish-worker`: where it is, and its line in the list of commands.

The list is shown without importing the commands. tests/integration/cli/test_start.py compares the
texts with those of the commands.
"""

from worker.cli.late import Late

COMMANDS = {
    "up": Late(
        place="worker.cli.local:up",
        text="Run engines, API, worker and beat on this machine until Ctrl-C. The data stays.",
    ),
    "demo": Late(
        place="worker.cli.local:demo",
        text="Show how videos are published, from start to finish, on temporary engines and data.",
    ),
    "migrate": Late(
        place="worker.cli.migrate:migrate",
        text="Migrate the database to this version. It may run twice, and on two hosts at once.",
    ),
    "enqueue": Late(
        place="worker.cli.enqueue:enqueue",
        text="Publish videos at once, or at a given time, when they are ready. All are accepted, "
        "or none.",
        epilog="Examples: `publish-worker enqueue 7 8 9 --wait 10`, `publish-worker enqueue 7 "
        "--publish-at-local 2026-12-01T18:00 --time-zone Europe/Berlin`",
    ),
    "unpublish": Late(
        place="worker.cli.enqueue:unpublish",
        text="Unpublish videos at once, or at a given time. They become drafts and keep their "
        "URLs.",
        epilog="Examples: `publish-worker unpublish 7 --wait 10`, "
        "`publish-worker unpublish 7 --unpublish-at 2026-12-15T18:00:00Z`",
    ),
    "plan": Late(
        place="worker.cli.plan:show_plan",
        text="Show what `enqueue` with these options would do, check by check. Nothing is written.",
        epilog="Example: `publish-worker plan 7 --publish-at 2026-12-01T18:00:00Z`",
    ),
    "status": Late(
        place="worker.cli.status:status",
        text="Show whether everything works, and what is queued. Exit code 1 if something does "
        "not work.",
    ),
    "doctor": Late(
        place="worker.cli.doctor:doctor",
        text="Look at everything around the worker, and say what is wrong and what to do.",
        epilog="Exit code 1 if there is an error; warnings are not errors.",
    ),
    "config": Late(
        place="worker.cli.config:config",
        text="List every setting with its type, default and meaning, or what each one is now.",
    ),
    "env": Late(
        place="worker.cli.env:env",
        text='Print the settings as exports, with their secrets: `eval "$(publish-worker env)"`.',
    ),
    "punctuality": Late(
        place="worker.cli.punctuality:punctuality",
        text="Show how late commands are, in milliseconds.",
    ),
    "audit": Late(
        place="worker.cli.audit:audit",
        text="Show who changed or tried to change something, the newest first; --json has every "
        "field.",
        epilog="Example: `publish-worker audit --action command.cancel --workspace 1`",
    ),
    "commands": Late(
        place="worker.cli.commands:app",
        text="List, show, reschedule, cancel and retry commands.",
    ),
    "events": Late(
        place="worker.cli.events:app",
        text="Follow events, rebuild their stream, list and redrive dead letters.",
    ),
    "keys": Late(place="worker.cli.keys:app", text="Make, list and revoke API keys."),
    "sessions": Late(
        place="worker.cli.sessions:app", text="List and end the sessions of the console."
    ),
    "videos": Late(place="worker.cli.videos:app", text="List videos, show one, and its story."),
    "webhooks": Late(
        place="worker.cli.webhooks:app",
        text="Register webhook endpoints, list their deliveries, send events again.",
    ),
}
"""In the order of the list."""
