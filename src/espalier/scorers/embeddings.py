"""Sentence embeddings by an encoder of your own choice: mean of the last hidden states over the tokens of a text, made 1 long. For `neighbours`.

Reads a folder in Hugging Face layout or a name on the hub; safetensors only, no code of others. On the GPU if there is one, else on the CPU.

Source: mean pooling: Reimers, Gurevych 2019, Sentence-BERT, arXiv 1908.10084, section 3.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from espalier.errors import ParamsError

if TYPE_CHECKING:
    import torch

SETTING = "params.yaml: score.embeddings"
WANTED = ("*.json", "*.txt", "*.safetensors", "*.model")  # of a repository on the hub; never pickles
BATCH_TEXTS = 64
MOST_TOKENS = 512  # of a text that are read, where the model takes as many

Dense = NDArray[np.float32]


def open_encoder(name: str) -> Callable[[Sequence[str]], Dense]:
    """A function texts -> n x hidden rows of length 1 (0 for a text without tokens), in the order of the texts; the same bytes for the same list.

    Raises: ParamsError where there is no such model, it has no safetensors or its code is not in transformers.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = _folder(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        model = AutoModel.from_pretrained(folder, trust_remote_code=False, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        why = _first_line(error)
        raise ParamsError(f"{SETTING} is {name}, which cannot be loaded ({why}); name an encoder with *.safetensors that transformers knows") from error
    if tokenizer.pad_token is None:
        raise ParamsError(f"{SETTING} is {name}, whose tokenizer names no token for padding; name an encoder (BERT, MPNet, ...)")
    model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    return lambda texts: _embed(texts, tokenizer, model)


def _embed(texts: Sequence[str], tokenizer: Any, model: "torch.nn.Module") -> Dense:
    """Texts of like length come together: rows of a batch are padded to the longest."""
    import torch

    room = min(MOST_TOKENS, getattr(model.config, "max_position_embeddings", MOST_TOKENS))
    found = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
    for at in range(0, len(order), BATCH_TEXTS):
        some = order[at : at + BATCH_TEXTS]
        clean = [texts[i].encode("utf-8", "replace").decode() for i in some]  # tokenizers take no lone surrogates
        batch = tokenizer(clean, padding=True, truncation=True, max_length=room, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            states_BTD = model(**batch).last_hidden_state.float()
        mask_BT1 = batch["attention_mask"].unsqueeze(-1)
        found[some] = torch.nn.functional.normalize((states_BTD * mask_BT1).sum(1), dim=-1).cpu().numpy()  # the mean but for its length
    return found


def _folder(name: str) -> Path:
    """Where the model lies; one on the hub is fetched where it is not there yet."""
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return folder
    parts = name.split("/")
    if folder.exists() or len(parts) != 2 or Path(parts[0]).exists() or name.startswith((".", "~", "/")):
        raise ParamsError(f'{SETTING} is {name}, which holds no model (no config.json); name a folder, a model on the hub (owner/name), or write ""')
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(WANTED)))
    except (OSError, ValueError) as error:
        raise ParamsError(f"{SETTING} is {name}: no folder, and not given by the hub ({_first_line(error)}); fetch it and name the folder") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
