"""The form in which a sample is trained on and an exam item is asked: one user turn, one reply."""

import polars

from espalier.prompts import Messages
from espalier.tokens import Chat, Document, encode_samples


def ask(context: str, query: str) -> Messages:
    """The conversation that poses a problem, with the lines of its tables and code."""
    return (("user", "\n\n".join(part for part in (context.strip(), query.strip()) if part)),)


def training_documents(chat: Chat, rows: polars.DataFrame) -> list[Document]:
    """The token ids of each row, prompt and reply, in the order of the rows."""
    prompts = [ask(context, query) for context, query in rows.select("context", "query").iter_rows()]
    return encode_samples(chat, prompts, rows["answer"].to_list())
