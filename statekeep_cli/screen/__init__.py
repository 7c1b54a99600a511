"""The rescue screen: what `statekeep rescue` opens on a terminal, over the same functions as its subcommands.

`desk` asks the database from a thread of its own, `twins` says every action as a command line, `page` says
what is shown as text; `app`, `resolving` and `asking` are Textual's, which is imported with them and not
before.
"""
