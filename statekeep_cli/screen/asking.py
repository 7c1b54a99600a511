"""What the screens share: asking the desk without blocking, and saying an error as one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from statekeep_cli.render.terminal import inert
from statekeep_cli.screen import page
from statekeep_cli.screen.desk import Desk, Hand

T = TypeVar("T")


class Asking:
    """Jobs of the desk, done by the hand."""

    def __init__(self, desk: Desk):
        self.desk, self.hand = desk, Hand()

    async def ask(self, say: Callable[[str], None], job: Callable[..., T], *arguments: Any) -> T | None:
        """What a job returns; None where it failed, which is said."""
        try:
            return await self.hand.do(job, *arguments)
        except Exception as error:
            say(page.error_text(error))
            return None


def plain(text: str = "", **more: Any) -> Static:
    """Text that is no markup, whatever is in it."""
    return Static(text, markup=False, **more)


def line(command: str) -> str:
    """A command line as it is shown."""
    return f"$ {inert(command)}"


class Asked(ModalScreen[bool]):
    """A question with what it is about, answered by y or n."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("y", "dismiss(True)", "Yes"),
        ("n", "dismiss(False)", "No"),
        ("escape", "dismiss(False)", "No"),
    ]

    def __init__(self, text: str, command: str):
        super().__init__()
        self.text, self.command = text, command

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield plain(self.text, id="question")
        yield plain(line(self.command), classes="twin")
        yield Footer(show_command_palette=False)


class Help(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape,q,question_mark,enter", "dismiss", "Back")]

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield plain(page.HELP)
        yield Footer(show_command_palette=False)
