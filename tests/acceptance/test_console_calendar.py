"""The calendar in a real browser: by keyboard alone, by dragging, on a phone, in another zone."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from publish_worker_client.events.names import Trigger
from schemas.command import PublishRequest
from schemas.values.caller import Scope
from tests.support.browser import NEEDS_CHROMIUM, PHONE
from tests.support.console import send, signed_in
from tests.support.pipeline import Pipeline
from tests.support.served import Served
from tests.support.waiting import wait_until
from worker.enqueue import changes

pytestmark = NEEDS_CHROMIUM

NINE = datetime(2027, 3, 26, 9, tzinfo=UTC)
"""A Friday, 10:00 in Berlin; on the Sunday after it the clocks go forward."""
WEEK = "/console/calendar/?view=week&date=2027-03-26&zone=Europe/Berlin"
MONTH = WEEK.replace("week", "month")
TALL = {"width": 1280, "height": 1200}
FOCUSED = (
    "document.activeElement.matches('button,summary') ? document.activeElement.textContent : ''"
)
ATTACK = "<script>document.title = 'taken over'</script> \u202e override"


def scheduled(pipeline: Pipeline, at: datetime = NINE, title: str = "What is attention?") -> UUID:
    request = PublishRequest(video_id=pipeline.video(title=title), publish_at=at)
    return pipeline.accept(request).commands[0].id


def tab_to(page: Page, text: str) -> None:
    """Press Tab until the button or summary with this text has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if text in page.evaluate(FOCUSED):
            return
    pytest.fail(f"Tab does not lead to {text!r}")


def test_by_keyboard_alone_a_command_is_rescheduled_put_back_and_cancelled(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    command = scheduled(pipeline)
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open(WEEK)
        expect(page.locator(".ec-event")).to_contain_text("10:00 ↑ publish")
        tab_to(page, "What is attention?")
        page.keyboard.press("Enter")
        expect(page.locator("#new-date")).to_be_focused()
        page.keyboard.type("03272027")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.type("061500PM")
        page.keyboard.press("Enter")
        expect(page.locator("#done")).to_contain_text("Sat 27 March 2027, 18:15 in Europe/Berlin")
        expect(page.locator(".ec-event")).to_contain_text("18:15")
        assert pipeline.command(command).due_at == NINE + timedelta(days=1, hours=8, minutes=15)
        expect(page.get_by_role("button", name="Undo")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#done")).to_contain_text("Fri 26 March 2027, 10:00")
        assert pipeline.command(command).due_at == NINE
        tab_to(page, "What is attention?")
        page.keyboard.press("Enter")
        expect(page.locator("#new-date")).to_be_focused()
        tab_to(page, "Cancel this command")
        page.keyboard.press("Enter")
        tab_to(page, "Cancel the command")
        page.keyboard.press("Enter")
        expect(page.locator("#done")).to_contain_text("now cancelled")
        expect(page.locator("#agenda")).to_contain_text("cancelled")
        assert pipeline.command(command).state == "cancelled"


def test_a_command_is_dragged_to_another_day_unless_it_has_ended_meanwhile(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    command = scheduled(pipeline)
    with signed_in(browser, api, pipeline, viewport=TALL) as opened:
        page = opened.page
        page.route("**/console/changes", lambda route: route.abort())  # it sees no live changes
        opened.open(MONTH)
        entry = page.locator(".ec-event")
        expect(entry).to_contain_text("10:00")
        drag(page, "2027-03-29")
        # Monday 10:00 in Berlin is an hour earlier in UTC: the clocks have gone forward.
        expect(page.locator("#done")).to_contain_text("Mon 29 March 2027, 10:00 in Europe/Berlin")
        assert pipeline.command(command).due_at == NINE + timedelta(days=3, hours=-1)
        with page.expect_response("**/console/calendar/commands?*"):
            page.get_by_role("button", name="Undo").click()
        expect(page.locator("#done")).to_contain_text("Fri 26 March 2027, 10:00")
        wait_until(lambda: is_in(page, "2027-03-26"), "the entry to be back on Friday")
        changer = changes.Changer(trigger=Trigger.API, workspace_id=None)
        changes.cancel(pipeline.engine, pipeline.waker, command, changer)
        drag(page, "2027-03-30")
        expect(page.locator("#messages")).to_contain_text("cannot be changed any more")
        expect(entry).to_contain_text("cancelled")


def cell(page: Page, day: str) -> Locator:
    return page.locator(".ec-day", has=page.locator(f'time[datetime="{day}"]'))


def is_in(page: Page, day: str) -> bool:
    """Whether the only entry is drawn in the cell of a day."""
    entry, around = page.locator(".ec-event").bounding_box(), cell(page, day).bounding_box()
    if entry is None or around is None:  # it is being drawn again
        return False
    return (
        around["x"] <= entry["x"] < around["x"] + around["width"]
        and around["y"] <= entry["y"] < around["y"] + around["height"]
    )


def drag(page: Page, day: str) -> None:
    """Drag the only entry into the cell of a day."""
    start, end = page.locator(".ec-event").bounding_box(), cell(page, day).bounding_box()
    assert start
    assert end
    page.mouse.move(start["x"] + 20, start["y"] + 8)
    page.mouse.down()
    page.mouse.move(end["x"] + 30, end["y"] + 40, steps=6)
    page.mouse.up()


@pytest.mark.slow
def test_what_a_person_holds_is_not_drawn_again_under_the_hand(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    command = scheduled(pipeline)
    other = scheduled(pipeline, NINE + timedelta(days=1), title="another one")
    with signed_in(browser, api, pipeline, viewport=TALL) as opened:
        page = opened.page
        opened.open(MONTH)
        expect(page.locator("#stream")).to_have_text("live")
        entry = page.locator(".ec-event", has_text="What is attention?")
        start, end = entry.bounding_box(), cell(page, "2027-03-24").bounding_box()
        assert start
        assert end
        page.mouse.move(start["x"] + 20, start["y"] + 8)
        page.mouse.down()
        page.mouse.move(start["x"] + 40, start["y"] + 30, steps=3)
        changer = changes.Changer(trigger=Trigger.API, workspace_id=None)
        with page.expect_response(
            lambda each: "/calendar/commands?" in each.url and each.status == 200
        ):
            changes.cancel(pipeline.engine, pipeline.waker, other, changer)
        page.mouse.move(end["x"] + 30, end["y"] + 40, steps=6)
        expect(page.locator(".ec-dragging, .ec-ghost, .ec-preview").first).to_be_attached()
        expect(page.locator(".ec-event.cancelled")).to_have_count(0)
        page.mouse.up()
        expect(page.locator("#done")).to_contain_text("Wed 24 March 2027, 10:00")
        expect(page.locator(".ec-event.cancelled")).to_contain_text("another one")
    assert pipeline.command(command).due_at == NINE - timedelta(days=2)


def test_an_entry_that_is_drawn_again_keeps_the_focus(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    command = scheduled(pipeline)
    with signed_in(browser, api, pipeline) as opened:
        page, held = opened.page, list[Route]()

        def hold(route: Route) -> None:
            held.append(route)

        opened.open(WEEK)
        page.locator(".ec-event button").click()
        page.get_by_role("dialog").get_by_label("Time", exact=True).fill("18:15:00")
        page.route("**/console/calendar/commands?*", hold)
        page.get_by_role("button", name="Reschedule").click()
        expect(page.locator("#done")).to_contain_text("18:15 in Europe/Berlin")
        wait_until(lambda: page.title() and held, "the entries to be asked for")
        page.locator(".ec-event button").focus()
        held[0].continue_()
        expect(page.locator(".ec-event button")).to_contain_text("18:15")
        expect(page.locator(".ec-event button")).to_be_focused()
        page.unroute("**/console/calendar/commands?*")
        page.keyboard.press("Enter")
        expect(page.locator("#new-date")).to_be_focused()
        changer = changes.Changer(trigger=Trigger.API, workspace_id=None)
        changes.cancel(pipeline.engine, pipeline.waker, command, changer)
        expect(page.locator(".ec-event.cancelled")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator(".ec-event button")).to_be_focused()


@pytest.mark.slow
def test_the_list_is_fetched_again_only_if_something_in_it_has_changed(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    command = scheduled(pipeline)
    with signed_in(browser, api, pipeline) as opened:
        page, answers = opened.page, list[tuple[str, int]]()
        opened.open(MONTH)
        expect(page.locator(".ec-event")).to_contain_text("10:00")
        expect(page.locator("#stream")).to_have_text("live")
        page.on("response", lambda each: answers.append((each.url, each.status)))
        with page.expect_response("**/console/calendar/commands?*") as asked:
            scheduled(pipeline, NINE + timedelta(days=90))
        assert asked.value.status == 304
        assert not [url for url, _ in answers if "/calendar/?" in url]
        page.locator(".ec-event button").focus()
        changer = changes.Changer(trigger=Trigger.API, workspace_id=None)
        changes.cancel(pipeline.engine, pipeline.waker, command, changer)
        expect(page.locator("#agenda")).to_contain_text("cancelled")
        expect(page.locator(".ec-event.cancelled button")).to_be_focused()


@pytest.mark.slow
def test_a_month_of_many_commands_shows_their_number_on_each_day(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    midnight = datetime(2027, 3, 25, 23, tzinfo=UTC)
    video = pipeline.video()
    for minutes in range(0, 404, 4):
        at = midnight + timedelta(minutes=minutes)
        pipeline.accept(
            PublishRequest(video_id=pipeline.video() if minutes % 40 else video, publish_at=at)
        )
    with signed_in(browser, api, pipeline, viewport=PHONE) as opened:
        page = opened.page
        opened.open(MONTH)
        expect(page.locator(".ec-event")).to_have_text("101 commands")
        assert opened.violations() == []
        page.locator(".ec-event a").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Friday 26 March 2027")
        expect(page.locator(".ec-event").first).to_have_text("15 commands")
        expect(page.locator("#agenda tbody tr")).to_have_count(100)
        assert opened.violations() == []
        page.get_by_role("link", name="Later").click()
        expect(page.locator("#agenda tbody tr")).to_have_count(1)
        expect(page.locator("#agenda")).to_contain_text("06:40")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_an_entry_at_midnight_is_drawn_on_its_day(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    scheduled(pipeline, datetime(2027, 3, 25, 23, tzinfo=UTC))
    with signed_in(browser, api, pipeline, viewport=TALL) as opened:
        opened.open(MONTH)
        expect(opened.page.locator(".ec-event")).to_contain_text("00:00")
        wait_until(lambda: is_in(opened.page, "2027-03-26"), "the entry to be on Friday")


@pytest.mark.slow
def test_the_zone_is_the_browsers_until_another_is_chosen_and_stays_in_the_address(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    scheduled(pipeline)
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open("/console/calendar/?view=day&date=2027-03-26")
        page.wait_for_url("**zone=Europe%2FBerlin")
        expect(page.locator(".ec-event")).to_contain_text("10:00")
        page.get_by_label("Time zone").select_option("Asia/Kathmandu")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**zone=Asia%2FKathmandu**")
        expect(page.locator(".ec-event")).to_contain_text("14:45")
        expect(page.locator("#agenda")).to_contain_text("Fri 26 Mar 2027 14:45")
        page.go_back()
        expect(page.locator(".ec-event")).to_contain_text("10:00")


@pytest.mark.slow
def test_a_time_that_occurs_twice_is_asked_about_in_the_dialog(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    command = scheduled(pipeline)
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open(WEEK.replace("week", "agenda"))
        page.get_by_role("link", name="Change").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Date").fill("2027-10-31")
        dialog.get_by_label("Time", exact=True).fill("02:30:00")
        expect(page.get_by_label("twice")).to_be_hidden()
        page.get_by_role("button", name="Reschedule").click()
        expect(page.get_by_role("alert")).to_contain_text("exists twice in Europe/Berlin")
        page.get_by_label("twice").select_option("the second one")
        page.get_by_role("button", name="Reschedule").click()
        expect(page.locator("#done")).to_contain_text("Sun 31 October 2027, 02:30")
        assert pipeline.command(command).due_at == datetime(2027, 10, 31, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_assistive_technology_and_phones_can_use_the_calendar(
    browser: Browser, api: Served, pipeline: Pipeline, scheme: str
) -> None:
    scheduled(pipeline, title=ATTACK)
    scheduled(pipeline, NINE + timedelta(hours=1), title="long " * 50)
    with signed_in(browser, api, pipeline, color_scheme=scheme, viewport=PHONE) as opened:
        page = opened.page
        opened.open(WEEK)
        expect(page.locator(".ec-event").first).to_contain_text("document.title")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.title() == "Calendar · publish-worker"
        page.get_by_role("link", name="Change").first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert opened.violations() == []
        page.keyboard.press("Escape")
        assert opened.violations() == []
        opened.open("/console/calendar/feeds")
        page.get_by_role("button", name="Create a feed").click()
        expect(page.locator("#address")).to_contain_text("/calendar/")
        assert opened.violations() == []


@pytest.mark.slow
def test_a_click_on_an_empty_slot_schedules_a_video_that_is_found_by_its_title(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    pipeline.video(title="Another one")
    video = pipeline.video(title="What is attention?")
    with signed_in(browser, api, pipeline, viewport=TALL) as opened:
        page = opened.page
        opened.open(WEEK)
        friday = page.locator(".ec-body .ec-day").nth(4)
        expect(page.locator(".ec-slot").first).to_be_attached()
        friday.click(position={"x": 20, "y": 32 * 2 * 8 + 40})  # 08:30
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_label("Date")).to_have_value("2027-03-26")
        assert dialog.get_by_label("Time", exact=True).input_value().startswith("08:30")
        expect(dialog.get_by_role("radio")).to_have_count(2)
        dialog.get_by_label("Find a video").fill("ATTENTION")
        expect(dialog.get_by_role("radio")).to_have_count(1)
        dialog.get_by_label("Action").select_option("unpublish")
        dialog.get_by_role("button", name="Schedule").click()
        expect(page.locator("#done")).to_contain_text("Fri 26 March 2027, 08:30 in Europe/Berlin")
        expect(page.locator(".ec-event")).to_contain_text("08:30 ↓ unpublish")
        page.locator(".ec-event button").click()
        expect(page.locator("#command-title")).to_contain_text("Unpublish What is attention?")
    assert pipeline.rows(
        "SELECT video_id, action, due_at, requested_by IS NOT NULL FROM publisher.publish_command"
    ) == [(video, "unpublish", NINE - timedelta(hours=1, minutes=30), True)]
    assert pipeline.rows(
        "SELECT action, door, outcome FROM publisher.audit_entry WHERE subject = 'command'"
    ) == [("command.create", "console", "ok")]


def test_by_keyboard_alone_a_slot_is_chosen_and_a_video_found_by_its_id(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    pipeline.video(title="7 others")
    video = pipeline.video(title="What is attention?")
    with signed_in(browser, api, pipeline) as opened:
        page = opened.page
        opened.open(WEEK)
        expect(page.locator(".slot").first).to_be_attached()
        tab_to(page, "+ 09:00")
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowUp"):
            page.keyboard.press(key)
        expect(page.locator(".slot")).to_have_attribute(
            "aria-label", re.compile("Schedule on Saturday,? 27 March 2027, 09:30")
        )
        page.keyboard.press("Enter")
        expect(page.get_by_label("Find a video")).to_be_focused()
        page.keyboard.type(str(video))
        expect(page.get_by_role("radio")).to_have_count(1)
        tab_to(page, "Schedule")
        page.keyboard.press("Enter")
        expect(page.locator("#done")).to_contain_text("Sat 27 March 2027, 09:30")
    assert pipeline.value("SELECT video_id FROM publisher.publish_command") == video


@pytest.mark.parametrize("has_scripts", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_video_is_scheduled_from_the_pages_button_also_without_scripts(
    browser: Browser, api: Served, pipeline: Pipeline, has_scripts: bool
) -> None:
    pipeline.video(title=ATTACK)
    with signed_in(
        browser, api, pipeline, viewport=PHONE, java_script_enabled=has_scripts
    ) as opened:
        page = opened.page
        opened.open(MONTH)
        page.get_by_role("link", name="Schedule a video").click()
        page.get_by_label("Find a video").fill("nothing like it")
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_text("No video matches.")).to_be_visible()
        if has_scripts:
            page.get_by_role("button", name="Schedule", exact=True).click()
            expect(page.get_by_role("alert")).to_contain_text("Choose a video.")
            assert opened.violations() == []
        page.get_by_label("Find a video").fill("override")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("radio").check()
        expect(page.get_by_label("Date").last).to_have_value("2027-03-26")
        page.get_by_role("button", name="Schedule", exact=True).click()
        expect(page.locator("#done")).to_contain_text("Fri 26 March 2027, 09:00 in Europe/Berlin")
    assert pipeline.value("SELECT count(*) FROM publisher.publish_command") == 1


def test_a_key_that_may_not_publish_has_no_slot_and_no_form(
    browser: Browser, api: Served, pipeline: Pipeline
) -> None:
    with signed_in(browser, api, pipeline, Scope.READ) as opened:
        opened.open(WEEK)
        expect(opened.page.locator(".ec-main")).to_be_visible()
        expect(opened.page.locator(".slot, a.new")).to_have_count(0)
        form = {"video_id": "1", "date": "2027-03-26", "time": "09:00", "zone": "UTC"}
        assert send(opened, "/console/calendar/new", **form).status == 403
