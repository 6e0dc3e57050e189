"""The route of the audit log: who changed or tried to change something."""

from typing import Annotated

from fastapi import Query

from schemas.audit import AuditFilter, AuditLog
from worker.api import problems
from worker.api.auth import AdminCaller, CurrentRuntime, RequiresKey
from worker.api.documents.audit_log import ENTRY
from worker.api.documents.responses import KEY_PROBLEMS, failures, success
from worker.api.links import page_url
from worker.api.routing import Router
from worker.operations import audit

router = Router(tags=["operations"], dependencies=[RequiresKey], responses=KEY_PROBLEMS)


@router.get(
    "/audit-log",
    operation_id="audit-log-list",
    summary="See who changed or tried to change something",
    responses=failures(problems.ADMIN_NEEDED)
    | success(200, "A page of entries.", {"entries": [ENTRY], "next": None}),
)
def list_entries(
    runtime: CurrentRuntime, caller: AdminCaller, query: Annotated[AuditFilter, Query()]
) -> AuditLog:
    """Return a page of entries, the newest first; `next` is the URL of the following page.

    A key of a workspace sees the entries of its workspace. Requires a key of scope `admin`.
    Accepted commands are not listed: each names its key in `requested_by`.
    """
    page = audit.list_page(runtime.engine, query, caller.workspace_id)
    base_url, last = runtime.settings.public_base_url, page.next_after
    return AuditLog(
        entries=list(page.items),
        next=last and page_url(base_url, "/audit-log", query, before=last.id),
    )
