# SPDX-License-Identifier: Apache-2.0
"""The spans that this process has made, in memory."""

from types import TracebackType
from typing import Any, Self

from opentelemetry.sdk import trace
from opentelemetry.sdk.trace import export
from opentelemetry.sdk.trace.export import in_memory_span_exporter

from poppy.common import tracing


class Spans:
    """While it is entered, every span is kept as soon as it has ended."""

    def __init__(self) -> None:
        self._exporter = in_memory_span_exporter.InMemorySpanExporter()

    def __enter__(self) -> Self:
        provider = trace.TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(export.SimpleSpanProcessor(self._exporter))
        tracing.use(provider)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tracing.use(None)

    def all(self) -> list[Any]:
        """In the order in which they have ended."""
        return list(self._exporter.get_finished_spans())

    def names(self) -> list[str]:
        """Of all."""
        return [span.name for span in self.all()]

    def named(self, name: str) -> list[Any]:
        """All of a name."""
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> Any:
        """The only one of a name."""
        (span,) = self.named(name)
        return span

    def text(self) -> str:
        """All that is known of them."""
        return "\n".join(span.to_json() for span in self.all())
