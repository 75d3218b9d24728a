"""Our pages beside the embeddings: which path is whose, in front of LiteLLM's application."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from plugins._asgi import App, Receive, Scope, Send

__all__ = ["PAGE", "Routes"]

PAGE = "qwen3_router.page"  # where the scope has the path, without a root path


class Routes:
    """ASGI middleware: exact paths in *pages* are answered by *page*, all else by *app*.

    Each path comes with a question: a page that the config switches off, or that LiteLLM has
    itself, is left to *app*.
    """

    def __init__(self, app: App, page: App, pages: Mapping[str, Callable[[], bool]]) -> None:
        self._app = app
        self._page = page
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            root = scope.get("root_path", "")
            path = scope["path"].removeprefix(root) if root else scope["path"]
            is_ours = self._pages.get(path)
            if is_ours is not None and is_ours():
                return await self._page({**scope, PAGE: path}, receive, send)
        await self._app(scope, receive, send)
