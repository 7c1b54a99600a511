"""The dialog that sets one actor by hand: a state of the target, a reason, and a confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, OptionList

from statekeep_cli.render.terminal import inert
from statekeep_cli.screen import page
from statekeep_cli.screen.asking import Asked, Asking, line, plain
from statekeep_cli.screen.desk import Offer
from statekeep_cli.screen.twins import Twins
from statekeep_cli.stores.runs import Run

# What a dialog comes to: the run that wrote, and the command line that does the same.
Done = tuple[Run, str]


class Resolve(ModalScreen[Done | None]):
    """Asks which state and why, has both checked, and writes once that is confirmed. It stays open where
    something is refused."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "leave", "Back"),
        ("ctrl+y", "copy", "Copy command"),
    ]

    def __init__(self, asking: Asking, twins: Twins, id: str, target: str, offers: Sequence[Offer]):
        super().__init__()
        self.asking, self.twins = asking, twins
        self.actor, self.target, self.offers = id, target, offers
        self.seen: list[Offer] = []
        self.writing = False

    def compose(self) -> ComposeResult:
        yield plain(
            f"set {inert(self.actor)} by hand into a state of {inert(self.target)}\n"
            "state (type to narrow, or a path or a JSON state value; down goes to the list):",
            classes="head",
        )
        yield Input(id="to", compact=True)
        yield OptionList(id="states", markup=False, compact=True)
        yield plain("reason (it is kept with the decision):")
        yield Input(id="why", compact=True)
        yield plain(id="said")
        yield plain(id="twin", classes="twin")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self._narrow("")
        suggested = [x for x in self.offers if x.why]
        if len(suggested) == 1:
            self._take(suggested[0].name)
        self._show_twin()

    @property
    def to(self) -> str:
        return self.query_one("#to", Input).value.strip()

    @property
    def why(self) -> str:
        return self.query_one("#why", Input).value.strip()

    @property
    def command(self) -> str:
        return self.twins.resolve(self.actor, self.to, self.why)

    def _say(self, text: str) -> None:
        self.query_one("#said").update(text)  # type: ignore[attr-defined]

    def _show_twin(self) -> None:
        self.query_one("#twin").update(line(self.command))  # type: ignore[attr-defined]

    def _narrow(self, text: str) -> None:
        states = self.query_one("#states", OptionList)
        self.seen = [x for x in self.offers if text.casefold() in x.name.casefold()]
        if [x.name for x in self.seen] == [text]:  # it has been chosen; the others stay in sight
            self.seen = list(self.offers)
        states.clear_options()
        states.add_options(page.offer_line(x) for x in self.seen)
        states.highlighted = next((i for i, x in enumerate(self.seen) if x.name == text), None)

    def _take(self, name: str) -> None:
        self.query_one("#to", Input).value = name
        self.query_one("#why", Input).focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        if event.input.id == "to":
            self._narrow(event.value.strip())
        self._show_twin()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self._take(self.seen[event.option_index].name)

    def key_down(self) -> None:
        if self.focused is self.query_one("#to"):
            states = self.query_one("#states", OptionList)
            states.focus()
            states.highlighted = states.highlighted or (0 if self.seen else None)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        if not self.to:
            self._say("no state is given; type one, or choose one from the list")
            self.query_one("#to").focus()
        elif event.input.id == "to" and not self.why:
            self.query_one("#why").focus()
        elif not self.why:
            self._say("no reason is given; say why, for whoever reads the log")
            self.query_one("#why").focus()
        elif not self.writing:
            self._say("checking ...")
            self.run_worker(self._check(self.to, self.why, self.command), exclusive=True)

    async def _check(self, to: str, why: str, command: str) -> None:
        desk = self.asking.desk
        found = await self.asking.ask(self._say, desk.check, self.actor, to, why)
        if found is None:
            return
        self._say("")
        checked, place = found
        width = max(self.app.size.width - 6, 40)
        question = page.confirm_text(checked, place, why, desk.name, width)
        if not await self.app.push_screen_wait(Asked(question, command)):
            self._say("declined; nothing was done")
            return
        self.writing = True
        self._say("writing ...")
        try:
            run = await self.asking.ask(self._say, partial(desk.resolve, self.actor, to, why, checked))
        finally:
            self.writing = False
        if run is not None:
            self.dismiss((run, command))

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.command)
        self._say("copied")

    def action_leave(self) -> None:
        if self.writing:
            self._say("it is being written; wait until that is done")
        else:
            self.dismiss(None)
