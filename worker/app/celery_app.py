"""The class of our Celery app: it has the runtime, the outlets and the courier that tasks use."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from kombu.utils.objects import cached_property  # locked: a pool of threads opens a part once

from db.commands.claim import NextClaim
from worker.app import signals
from worker.events.outlet import Outlet
from worker.events.outlets import build_outlets
from worker.operations.health import Heartbeat
from worker.operations.processes import Activity, Work
from worker.runtime.metrics_server import MetricsServer
from worker.runtime.producer import BrokerApp
from worker.runtime.runtime import Runtime
from worker.webhooks.courier import Courier, CourierOptions


class PublishWorkerApp(BrokerApp):
    """The app of our workers and of beat. Each part is opened on first use."""

    @property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name
        """The worker class. Celery asks for it to start a worker in this process."""
        signals.install(self)
        return super().Worker

    @property
    def Beat(self) -> Any:  # noqa: N802 - Celery's name
        """The beat class. Celery asks for it to start beat in this process."""
        signals.install(self)
        return super().Beat  # pyright: ignore[reportUnknownVariableType]

    @cached_property
    def runtime(self) -> Runtime:
        """The engine and clients of this process; settings from the environment."""
        return Runtime.open(producer=self)

    @cached_property
    def outlets(self) -> Sequence[Outlet]:
        """The outlets that this process relays events to."""
        return build_outlets(self.runtime.engine, self.runtime.redis, self.runtime.settings)

    @cached_property
    def heartbeat(self) -> Heartbeat:
        """What shows that this process consumes."""
        return Heartbeat(self.runtime.waker)

    @cached_property
    def activity(self) -> Activity:
        """What this worker did last, shared by its processes."""
        return Activity()

    @cached_property
    def next_claim(self) -> NextClaim:
        """Where this process's next claim begins."""
        return NextClaim()

    @cached_property
    def courier(self) -> Courier:
        """The sender of webhooks; its thread starts with the first delivery."""
        settings = self.runtime.settings
        return Courier(
            self.runtime.engine,
            CourierOptions(
                base_url=settings.public_base_url,
                allow_private=settings.webhooks_allow_private,
                on_results=partial(self.activity.note, Work.DELIVERY),
            ),
        )

    @cached_property
    def metrics_server(self) -> MetricsServer:
        """Where the main process serves the metrics of all its processes."""
        return MetricsServer()

    def forget_inherited(self) -> None:
        """Drop the parts that were opened before a fork; the parent's connections stay open."""
        self.metrics_server.drop_inherited()
        inherited: Runtime | None = self.__dict__.pop("runtime", None)
        if inherited is not None:
            inherited.engine.dispose(close=False)
        for name in ("outlets", "heartbeat", "courier"):
            self.__dict__.pop(name, None)

    def close_courier(self) -> None:
        """Wait for the deliveries in flight, if there is a courier."""
        if "courier" in self.__dict__:
            self.courier.close()
