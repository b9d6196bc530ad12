"""A bar says how far, how fast and how long."""

from io import StringIO

from rich.console import Console

from flux_lora.commands.terminal import bar


def test_a_bar_shows_how_many_of_how_many_and_how_fast():
    heard = StringIO()
    with bar("encoding", Console(file=heard, force_terminal=True, width=120)) as told:
        for done in range(1, 4):
            told(done, 3, f"[{done}].png")
        told(1, 8, "another stage")
        told(2, 8, "another stage")
    assert "encoding" in heard.getvalue() and "2/8" in heard.getvalue() and "/s" in heard.getvalue()


def test_where_no_terminal_listens_nothing_is_shown():
    heard = StringIO()
    with bar("encoding", Console(file=heard)) as told:
        told(1, 2, "1.png")
    assert heard.getvalue().strip() == ""
