"""The rescue screen: groups, the actors of one in pages, and one actor's timeline."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import DescendantFocus, Resize
from textual.widgets import Footer, Input, OptionList, Static

from statekeep_cli.errors import Terminated
from statekeep_cli.render.terminal import shown
from statekeep_cli.rescuing import Shown
from statekeep_cli.screen import page
from statekeep_cli.screen.asking import Asking, Help, line, plain
from statekeep_cli.screen.desk import Desk, offers
from statekeep_cli.screen.resolving import Done, Resolve
from statekeep_cli.screen.twins import Twins
from statekeep_cli.stores.rescue import Group, Rescued

PAGE = 100
OWN = ("leave", "filter", "resolve", "turn", "copy", "help", "go_back", "zoom", "refresh_all")
Key = tuple[str | None, str, str, str | None]


class RescueScreen(App[None]):
    """`size` is how many actors a page has. `done` has the command line and the run of everything that was
    written."""

    ENABLE_COMMAND_PALETTE = False
    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q", "leave", "Quit"),
        ("slash", "filter", "Filter"),
        ("r", "resolve", "Resolve"),
        ("n", "turn(1)", "Next page"),
        ("p", "turn(-1)", "Previous"),
        ("c", "copy", "Copy"),
        ("question_mark", "help", "Help"),
        # Not in the footer: the help screen has them.
        Binding("escape", "go_back", show=False),
        Binding("z", "zoom", show=False),
        Binding("f5", "refresh_all", show=False),
        Binding("ctrl+c", "quit", show=False),
    ]

    def __init__(self, desk: Desk, twins: Twins, size: int = PAGE):
        # With NO_COLOR no colour at all: of itself Textual would paint in shades of grey.
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self.desk, self.twins, self.page_size = desk, twins, size
        self.asking = Asking(desk)
        self.done: list[tuple[str, int]] = []
        self.groups: list[Group] = []
        self.seen: list[Group] = []  # those that the filter takes
        self.group: Group | None = None
        self.actors: list[Rescued] = []
        self.befores: list[str | None] = [None]  # the id before each page up to this one
        self.begin: str | None = None  # the id that the first page begins with
        self.known: Shown | None = None
        self.command = twins.groups()
        self.terminated = False

    def compose(self) -> ComposeResult:
        yield plain("reading ...", id="title")
        yield Input(id="filter", compact=True)
        with Horizontal(id="panes"):
            yield OptionList(id="groups", markup=False, compact=True)
            with Vertical(id="right"):
                yield plain("", id="pages")
                yield OptionList(id="actors", markup=False, compact=True)
                with VerticalScroll(id="scroll"):
                    yield plain("", id="actor")
        yield plain("", id="said")
        yield plain("", id="twin", classes="twin")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        # As an event of the loop: an exception that a signal raises anywhere would sometimes land where
        # asyncio logs it and goes on. Outside the main thread, whoever runs it sees to signals.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._terminate)
        self.query_one("#groups").focus()
        self._reload()

    def _terminate(self) -> None:
        self.terminated = True
        self.exit()

    def on_unmount(self) -> None:
        self.asking.hand.close(self.desk.close)

    def _fatal_error(self) -> None:
        """Textual's own would print a traceback with the values of all variables, rows among them."""
        self._close_messages_no_wait()

    # --- what is said ---

    def _update(self, id: str, text: str) -> None:
        self.query_one(f"#{id}", Static).update(text)

    def _say(self, text: str) -> None:
        self._update("said", text)

    def _show_twin(self, command: str) -> None:
        self.command = command
        self._update("twin", line(command))

    @on(DescendantFocus)
    def _pane_changed(self) -> None:
        focused = self.focused.id if self.focused is not None else ""
        if focused in ("actors", "scroll") and self.known is not None:
            self._show_twin(self.twins.show(self.known.row.id))
        elif self.group is not None and focused in ("groups", "actors"):
            self._show_twin(self.twins.page(self.group, self.befores[-1]))

    # --- groups ---

    def action_refresh_all(self) -> None:
        self._say("")
        self._reload()

    def _reload(self) -> None:
        self.run_worker(self._read_groups(), group="groups", exclusive=True)

    async def _read_groups(self) -> None:
        found = await self.asking.ask(self._lost, self.desk.groups)
        if found is None:
            return
        place, self.groups = found
        self._update("title", page.title(place, self.groups))
        self._show_twin(self.twins.groups())
        self._list_groups()

    def _lost(self, text: str) -> None:
        if not self.groups:
            self._update("title", "nothing could be read")
        self._say(f"{text} (f5 reads again)")

    def _list_groups(self) -> None:
        """Lists what the filter takes, and stays with the group that was looked at."""
        text = self.query_one("#filter", Input).value if self._about_filter() == "groups" else ""
        widget, before = self.query_one("#groups", OptionList), _key(self.group)
        self.seen = [g for g in self.groups if page.takes(g, text)]
        size = page.group_size(self.seen)
        widget.clear_options()
        widget.add_options(page.group_line(g, size) for g in self.seen)
        same = next((i for i, g in enumerate(self.seen) if _key(g) == before), None)
        if not self.seen:
            self.group, self.actors = None, []
            self.query_one("#actors", OptionList).clear_options()
            self._update("pages", "")
            self._forget()
        else:
            widget.highlighted = same or 0
        if same is not None:
            self.group = self.seen[same]
            self._read_page()

    @on(OptionList.OptionHighlighted, "#groups")
    def _group_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        group = self.seen[event.option_index]
        if _key(group) != _key(self.group):
            self.group, self.befores, self.begin = group, [None], None
            self._read_page()

    @on(OptionList.OptionSelected, "#groups")
    def _group_selected(self) -> None:
        self.query_one("#actors").focus()

    # --- pages ---

    def _read_page(self) -> None:
        self.run_worker(self._page(), group="page", exclusive=True)

    async def _page(self) -> None:
        group = self.group
        if group is None:
            return
        begin = self.begin if len(self.befores) == 1 else None
        found = await self.asking.ask(
            self._lost, self.desk.page, group, self.befores[-1], begin, self.page_size
        )
        if found is None:
            return
        if not found and len(self.befores) > 1:  # all of this page is gone
            self.befores.pop()
            self._read_page()
            return
        was = self.known.row.id if self.known is not None else None
        self.actors = found
        widget = self.query_one("#actors", OptionList)
        widget.clear_options()
        widget.add_options(page.actor_line(x) for x in found)
        if self.begin is None:
            said = page.page_title(len(self.befores), len(found), self.page_size, group.count)
        else:
            said = f"actors from {shown(self.begin, 40)} on, page {len(self.befores)}"
        self._update("pages", said)
        self._show_twin(self.twins.page(group, self.befores[-1]))
        if found:
            widget.highlighted = next((i for i, x in enumerate(found) if x.id == was), 0)
        else:
            self._forget()

    def action_turn(self, pages: int) -> None:
        if pages > 0 and len(self.actors) == self.page_size:
            self.befores.append(self.actors[-1].id)
        elif pages < 0 and len(self.befores) > 1:
            self.befores.pop()
        else:
            self._say("this is the last page" if pages > 0 else "this is the first page")
            return
        self._say("")
        self._read_page()

    # --- one actor ---

    @on(OptionList.OptionHighlighted, "#actors")
    def _actor_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._read_actor(self.actors[event.option_index].id)

    @on(OptionList.OptionSelected, "#actors")
    def _actor_selected(self) -> None:
        self.query_one("#scroll").focus()

    def _read_actor(self, id: str) -> None:
        self.run_worker(self._actor(id), group="actor", exclusive=True)

    async def _actor(self, id: str) -> None:
        known = await self.asking.ask(self._lost, self.desk.look, id)
        if known is None:
            self._forget()
            return
        self.known = known
        self._show_actor()
        self.query_one("#scroll").scroll_home(animate=False)
        if self.focused is not None and self.focused.id in ("actors", "scroll"):
            self._show_twin(self.twins.show(id))

    def _show_actor(self) -> None:
        if self.known is not None:
            # One column less than the pane: its scroll bar comes and goes.
            width = self.query_one("#scroll").container_size.width - 4
            self._update("actor", page.actor_text(self.known, width, self.twins.retry()))

    def _forget(self) -> None:
        self.known = None
        self._update("actor", "")

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._show_actor)

    # --- keys ---

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A dialog has its own keys."""
        return len(self.screen_stack) == 1 or action not in OWN

    def _about_filter(self) -> str:
        """What the filter line is about: `groups`, `actors`, or nothing while it is not there."""
        widget = self.query_one("#filter", Input)
        return next((name for name in ("groups", "actors") if widget.has_class(name)), "")

    def action_filter(self) -> None:
        widget = self.query_one("#filter", Input)
        about = "actors" if self.focused is not None and self.focused.id in ("actors", "scroll") else "groups"
        if about != self._about_filter():
            widget.value = ""
        widget.set_classes(f"shown {about}")
        widget.placeholder = (
            "groups whose state, reason or version has this text"
            if about == "groups"
            else "actors from this id on"
        )
        widget.focus()

    @on(Input.Changed, "#filter")
    def _filter_typed(self) -> None:
        if self._about_filter() == "groups":
            self._list_groups()

    @on(Input.Submitted, "#filter")
    def _filter_entered(self, event: Input.Submitted) -> None:
        about = self._about_filter()
        if about == "actors":
            self.begin, self.befores = event.value or None, [None]
            self._read_page()
        if not event.value:
            event.input.set_classes("")
        self.query_one(f"#{about or 'groups'}").focus()

    def action_go_back(self) -> None:
        widget, focused = self.query_one("#filter", Input), self.focused
        self.query_one("#panes").remove_class("zoomed")
        if focused is widget or (
            widget.has_class("shown") and focused is self.query_one(f"#{self._about_filter()}")
        ):
            about = self._about_filter()
            widget.value = ""
            widget.set_classes("")
            if about == "groups":
                self._list_groups()
            elif self.begin is not None:
                self.begin, self.befores = None, [None]
                self._read_page()
            self.query_one(f"#{about}").focus()
        elif focused is not None and focused.id == "scroll":
            self.query_one("#actors").focus()
        else:
            self.query_one("#groups").focus()

    def action_zoom(self) -> None:
        self.query_one("#panes").toggle_class("zoomed")
        if self.query_one("#panes").has_class("zoomed"):
            self.query_one("#scroll").focus()
        self.call_after_refresh(self._show_actor)

    def action_copy(self) -> None:
        self.copy_to_clipboard(self.command)
        self._say("copied, where the terminal allows it (OSC 52)")

    def action_help(self) -> None:
        self.push_screen(Help())

    def action_leave(self) -> None:
        self.exit()

    async def action_quit(self) -> None:
        """Also from a dialog (ctrl+q), unless it writes."""
        dialogs = [x for x in self.screen_stack if isinstance(x, Resolve)]
        if not any(x.writing for x in dialogs):
            self.exit()

    # --- resolving ---

    def action_resolve(self) -> None:
        known = self.known
        if known is None:
            self._say("choose an actor first")
        elif known.rescued is None:
            self._say(f"{shown(known.row.id)} does not need rescue any more; f5 reads again")
        elif known.about is None:
            self._say(f"nothing says which states there are: {shown(known.missing, 400)}")
        else:
            dialog = Resolve(self.asking, self.twins, known.row.id, known.about.target.label, offers(known))
            self.push_screen(dialog, self._resolved)

    def _resolved(self, done: Done | None) -> None:
        # Also after a refusal: what was seen may have moved.
        if done is not None:
            run, command = done
            self.done.append((command, run.run))
            self._say(f"run {run.run}: 1 resolved; statekeep revert {run.run} would undo it")
        self._reload()


def _key(g: Group | None) -> Key | None:
    return None if g is None else (g.definition, g.version, g.state, g.reason)


def run(desk: Desk, twins: Twins) -> Sequence[tuple[str, int]]:
    """Open the screen; what was written through it, when it is left, as (command line, run) each."""
    app = RescueScreen(desk, twins)
    app.run()
    if app._exception is not None:  # cli.py says it in a sentence
        raise app._exception
    if app.terminated:
        raise Terminated("terminated")
    return app.done
