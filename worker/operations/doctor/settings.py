"""Findings on the settings themselves: which are invalid, missing or misspelt."""

from collections.abc import Callable, Iterator

from pydantic import ValidationError

from worker.operations.doctor.findings import Finding, error, ok, warning
from worker.runtime.errors_explained import explain_settings
from worker.runtime.setting_sources import find_misspelt
from worker.runtime.settings import OutletName, Settings, SettingsError
from worker.runtime.startup import (
    check_amqp_url,
    check_broker_url,
    check_database_url,
    check_identity_provider,
    check_oidc_installed,
    check_redis_url,
)
from worker.runtime.tracing import find_exporters

NAME = "settings"
REFERENCE = "`publish-worker config` lists every setting."


def examine_settings(settings: Settings, invalid: ValidationError | None) -> list[Finding]:
    """Return what is wrong with the settings; one finding if all is well."""
    found = [*_find_invalid(invalid), *_find_unusable(settings), *_find_misspelt()]
    return found or [ok(NAME, "Valid, and each name is known.")]


def is_usable(check: Callable[[Settings], None], settings: Settings) -> bool:
    """Whether a check of `startup` passes."""
    try:
        check(settings)
    except SettingsError:
        return False
    return True


def _find_invalid(invalid: ValidationError | None) -> Iterator[Finding]:
    for text in explain_settings(invalid) if invalid else ():
        detail, _, remedy = text.partition(": ")
        yield error(NAME, f"{detail}.", f"{remedy[:1].upper()}{remedy[1:]}.")


def _find_unusable(settings: Settings) -> Iterator[Finding]:
    checks = [check_database_url, check_redis_url, check_identity_provider, check_oidc_installed]
    checks += [check_broker_url] if settings.broker_url else []
    checks += [check_amqp_url] if OutletName.AMQP in settings.outlet_names() else []
    checks += [_check_tracing]
    for check in checks:
        try:
            check(settings)
        except SettingsError as failure:
            yield _to_finding(str(failure))


def _check_tracing(settings: Settings) -> None:  # noqa: ARG001 - one kind of check
    find_exporters()


def _to_finding(text: str) -> Finding:
    """Return a finding of a start-up error: its last sentence, or what follows the colon, helps."""
    for separator in (". ", ": "):
        detail, found, remedy = text.partition(separator)
        if found:
            return error(NAME, f"{detail}.", f"{remedy[:1].upper()}{remedy[1:]}")
    return error(NAME, text, REFERENCE)


def _find_misspelt() -> Iterator[Finding]:
    for name, likely in find_misspelt():
        remedy = f"Use {likely}." if likely else f"Remove it. {REFERENCE}"
        yield warning(NAME, f"{name} is set, and nothing reads it.", remedy)
