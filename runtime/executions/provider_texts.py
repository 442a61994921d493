"""The texts of providers' errors, for the operator: masked, in the log and in previews."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from providers.errors import ProviderError
from runtime.actions.requests import Source
from runtime.executions.execution import Execution
from runtime.executions.masking import masked

_log = logging.getLogger("creditgate.provider")

MOST_A_MINUTE = 10
"""Texts that are looked at, for each endpoint and status: some providers number each error."""
_MINUTE_S = 60.0


class ProviderTexts:
    """Logs the texts of errors, each once a minute, and keeps them for previews.

    Args:
        secrets: never to be shown, whoever quotes them.
        now_s: a clock that never goes back.
    """

    def __init__(self, secrets: Iterable[str], now_s: Callable[[], float]) -> None:
        self._secrets = tuple(secrets)
        self._now_s = now_s
        self._minutes: dict[tuple[str, int], _Minute] = {}

    def note(self, execution: Execution, attempt: int, error: ProviderError) -> None:
        """Log the text of an error with a status, and keep that of a preview in its trace."""
        text, status = error.provider_text, error.status
        if status is None:
            return
        is_preview = execution.request.source is Source.PREVIEW
        minute = self._minute(execution.model.endpoint.name, status)
        is_news = minute.takes(text)
        if not is_preview and not is_news:
            return
        shown = "(no text)" if text is None else self._masked(execution, text)
        if is_preview and text is not None:
            execution.progress.provider_texts[attempt] = shown
        if is_news and minute.is_first(shown):
            model, endpoint = execution.model.id, execution.model.endpoint.name
            _log.warning("endpoint %s, model %s: HTTP %d: %s", endpoint, model, status, shown)

    def _masked(self, execution: Execution, text: str) -> str:
        return masked(
            text,
            secrets=self._secrets,
            prompt=[message["content"] for message in execution.messages],
            data=execution.request.data,
            known=execution.model.litellm_model,
        )

    def _minute(self, endpoint: str, status: int) -> _Minute:
        now_s = self._now_s()
        minute = self._minutes.get((endpoint, status))
        if minute is None or now_s >= minute.ends_s:
            minute = self._minutes[endpoint, status] = _Minute(now_s + _MINUTE_S)
        return minute


class _Minute:
    """The texts that came from an endpoint with one status within a minute."""

    def __init__(self, ends_s: float) -> None:
        self.ends_s = ends_s
        self._texts: set[int] = set()
        self._shown: set[str] = set()

    def takes(self, text: str | None) -> bool:
        """Return whether the text is new, and not the eleventh."""
        name = hash(text)
        if name in self._texts or len(self._texts) >= MOST_A_MINUTE:
            return False
        self._texts.add(name)
        return True

    def is_first(self, shown: str) -> bool:
        """Return whether nothing was logged that reads the same."""
        is_first = shown not in self._shown
        self._shown.add(shown)
        return is_first
