"""Celery's app class with what our tasks work with: a runtime, the outlets and the courier."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from celery import Celery

from worker.app import signals
from worker.events.outlet import Outlet
from worker.events.outlets import build_outlets
from worker.runtime.runtime import Runtime
from worker.webhooks.courier import Courier, CourierOptions


class PublishWorkerApp(Celery):
    """The app of our workers and of beat. Everything is opened when it is first used."""

    @property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name
        """The worker; whoever asks for it is about to start one in this process."""
        signals.install(self)
        return super().Worker

    @property
    def Beat(self) -> Any:  # noqa: N802 - Celery's name
        """The scheduler; whoever asks for it is about to start one in this process."""
        signals.install(self)
        return super().Beat  # pyright: ignore[reportUnknownVariableType]

    @cached_property
    def runtime(self) -> Runtime:
        """The engine and clients of this process, settings from the environment."""
        return Runtime.open(producer=self)

    @cached_property
    def outlets(self) -> Sequence[Outlet]:
        """Where this process relays events to."""
        return build_outlets(self.runtime.engine, self.runtime.redis, self.runtime.settings)

    @cached_property
    def courier(self) -> Courier:
        """The sender of webhooks; its thread starts with the first delivery."""
        settings = self.runtime.settings
        return Courier(
            self.runtime.engine,
            CourierOptions(
                base_url=settings.public_base_url, allow_private=settings.webhooks_allow_private
            ),
        )

    def forget_inherited(self) -> None:
        """Drop what was opened before a fork, without closing the parent's connections."""
        inherited: Runtime | None = self.__dict__.pop("runtime", None)
        if inherited is not None:
            inherited.engine.dispose(close=False)
        for name in ("outlets", "courier"):
            self.__dict__.pop(name, None)

    def close_courier(self) -> None:
        """Let the deliveries in flight end, if there is a courier."""
        if "courier" in self.__dict__:
            self.courier.close()
