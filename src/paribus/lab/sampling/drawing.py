"""``sample``: let trained arms write, side by side, and check that each decodes as it was trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paribus.design.specs import Spec
from paribus.design.streams import derive
from paribus.design.study import BASELINE, Study
from paribus.design.study_files import read_study
from paribus.design.wording import suggest
from paribus.errors import DataError, PartError, StoreError, StudyError
from paribus.experiment.stored_evidence import read_registration
from paribus.judgement import Registration
from paribus.lab.sampling.samples import TOLERANCES, ArmSamples, DecodingCheck, Passage, Samples
from paribus.lab.sampling.weights import TrainedArm, find_trained
from paribus.store.store import DEFAULT_STORE, Store

if TYPE_CHECKING:
    from torch import Tensor, nn

    from paribus.data import Corpus

ToText = Callable[[Sequence[int]], str]

END = "[end of document]"
LONGEST_PROMPT = 64  # tokens of a held-out document, and a quarter of the window at most
_GRAM = 4


def sample(
    store: str | Path = DEFAULT_STORE,
    name: str | None = None,
    *,
    arms: Sequence[str] = (),
    study: str | Path | Study | None = None,
    prompt: str | None = None,
    n_tokens: int = 100,
    temperature: float = 0.8,
    seed: int = 0,
    observe: Callable[[Mapping[str, Any]], None] = lambda event: None,
) -> Samples:
    """Let the runs of a registered study's first seed go on from one prompt, and check how they decode; trains nothing.

    On the CPU, in float32, the check in float64 where the parts can. Every arm reads the last ``seq_len`` tokens:
    beyond that the window slides. All arms draw from equal streams of random numbers.

    Args:
        name: the study in the store; None where it holds one.
        arms: names of arms, all by default.
        study: the study file, or a Study of this process; not needed for a built-in study. Nothing is imported from a
            store, and a class must be as it was when it was trained.
        prompt: a text that begins a document; token ids with spaces between where the data have no encoder. None is the
            beginning of a held-out document.
        temperature: of the sampled text; 0 is greedy.

    Raises StudyError for arms, classes or a prompt that cannot be used, StoreError for runs that kept no weights, and
    PartError for a model that cannot read or write what is asked of it.
    """
    from paribus.execution.trained import deterministic, prepare_data

    if type(n_tokens) is not int or n_tokens < 1:
        raise StudyError(f"the number of tokens must be a whole number of at least 1, got {n_tokens!r}")
    if not 0 <= temperature < math.inf:
        raise StudyError(f"temperature must be finite and not negative (0 is greedy), got {temperature!r}")
    place = Store.open(store)
    registration = read_registration(place, name or _only_study(place))
    chosen = _choose_arms(registration, arms)
    given = list(read_study(study).scales.values()) if isinstance(study, str | Path) else [study] if study else []
    trained = find_trained(place, registration, chosen, given)
    training = trained[chosen[0]].training  # all arms share what is scored, and with it seq_len
    with deterministic("cpu"):
        corpus, _ = prepare_data(Spec.from_json(registration.study.content["data"]), training)
        for arm in trained.values():
            arm.require_as_trained(corpus)
        to_text = _decoder(corpus)
        passage = _open_document(corpus, training.evaluation_side, training.seq_len)
        cut = max(1, min(LONGEST_PROMPT, training.seq_len // 4, len(passage) - 1))
        scored = passage[: cut + n_tokens]
        begun = passage[:cut] if prompt is None else _encode(corpus, prompt, training.seq_len)

        def write(arm: TrainedArm) -> ArmSamples:
            observe({"event": "message", "text": f"{arm.name}: generating text"})
            model = arm.load(corpus)
            return ArmSamples(
                greedy=_go_on(arm, model, begun, n_tokens, 0.0, seed, to_text),
                sampled=_go_on(arm, model, begun, n_tokens, temperature, seed, to_text),
                held_out_log_probability=_score(arm, model, scored, cut),
                decoding=_check_decoding(arm.load(corpus), passage[: training.seq_len]),
            )

        written = {name: write(arm) for name, arm in trained.items()}
    return Samples(
        name=registration.name,
        question=registration.study.question,
        run_seed=registration.study.first_seed,
        prompt=_describe(begun[1:], to_text),
        is_held_out=prompt is None,
        continuation=_describe(scored[cut:], to_text),
        n_tokens=n_tokens,
        temperature=temperature,
        seed=seed,
        window=training.seq_len,
        is_text=not corpus.is_own or corpus.decode_ids is not None,
        arms=written,
    )


def _only_study(place: Store) -> str:
    names = place.study_names()
    if len(names) != 1:
        held = f"{len(names)} studies ({', '.join(names)}); name one" if names else "no registered study"
        raise StoreError(f"{place} holds {held}")
    return names[0]


def _choose_arms(registration: Registration, arms: Sequence[str]) -> list[str]:
    if isinstance(arms, str):
        raise StudyError(f"arms is a list of names; write [{arms!r}]")
    known = sorted(registration.runs, key=lambda name: name != BASELINE)  # a registration has them by name
    for arm in arms:
        if arm not in known:
            raise StudyError(f"study {registration.name!r} has no arm {arm!r}; {suggest(arm, known)}")
    return list(dict.fromkeys(arms)) or known


def _open_document(corpus: Corpus, side: str, window: int) -> list[int]:
    """The beginning of the first held-out document that fills a window and one more token, else of the longest."""
    documents = corpus.side(side)
    ends = documents.ends.tolist()
    spans = list(zip([0, *ends], ends, strict=False))
    longest = max(spans, key=lambda span: span[1] - span[0])
    start, end = next((span for span in spans if span[1] - span[0] >= window), longest)
    return [corpus.separator, *documents.tokens[start : min(end, start + window)].tolist()]


def _encode(corpus: Corpus, prompt: str, window: int) -> list[int]:
    """The ids of a document that begins with ``prompt``."""
    if not prompt:
        raise StudyError("the prompt is empty; leave it out to begin as a held-out document does")
    words = prompt.split()
    if not corpus.is_own:
        ids = corpus.encoder.encode([prompt])[0].tolist()
    elif words and all(word.isascii() and word.isdigit() and int(word) < corpus.vocab_size for word in words):
        ids = [int(word) for word in words]
    else:
        raise StudyError(
            f"{corpus.title} has no encoder, so a prompt is token ids from 0 to {corpus.vocab_size - 1} with spaces "
            f"between, got {prompt!r}"
        )
    if 1 + len(ids) > window:
        raise StudyError(
            f"the prompt has {len(ids)} tokens, and one before them stands for the beginning of a document; the models "
            f"read {window} (seq_len): shorten it"
        )
    return [corpus.separator, *ids]


def _decoder(corpus: Corpus) -> ToText:
    """Ids to text, with the end of a document spelled out; to the ids themselves where nothing decodes them."""
    if corpus.is_own and corpus.decode_ids is None:
        return lambda ids: " ".join(map(str, ids))

    def to_text(ids: Sequence[int]) -> str:
        documents: list[list[int]] = [[]]
        for token in ids:
            documents.append([]) if token == corpus.separator else documents[-1].append(token)
        try:
            return END.join(corpus.decode(document) if document else "" for document in documents)
        except Exception as error:  # a user's decode may not know all that a model can write
            raise DataError(f"{corpus.title}.decode fails on ids that a model wrote: {error!r}") from error

    return to_text


def _describe(ids: Sequence[int], to_text: ToText) -> Passage:
    grams = [tuple(ids[i : i + _GRAM]) for i in range(len(ids) - _GRAM + 1)]
    return Passage(tuple(ids), to_text(ids), 1 - len(set(grams)) / len(grams) if grams else None)


def _go_on(
    arm: TrainedArm,
    model: nn.Module,
    begun: Sequence[int],
    n_tokens: int,
    temperature: float,
    seed: int,
    to_text: ToText,
) -> Passage:
    import torch

    from paribus.training.generation import generate

    generator = torch.Generator().manual_seed(derive(seed, "sample"))
    with _fixed_noise(seed), _blaming(arm, "write"):
        ids = generate(model, _row(begun), n_tokens, temperature, generator, arm.training.seq_len)
    return _describe(ids[0].tolist(), to_text)


def _score(arm: TrainedArm, model: nn.Module, ids: Sequence[int], start: int) -> float:
    from paribus.training.generation import score_tokens

    with _fixed_noise(0), _blaming(arm, "score a held-out document"):
        return score_tokens(model, _row(ids), start)


def _check_decoding(model: nn.Module, ids: Sequence[int]) -> DecodingCheck:
    """In float64; in float32 where that fails, as with a part that mixes both."""
    from paribus.nn.precision import float64_arithmetic

    try:
        with float64_arithmetic():
            return _measure(copy.deepcopy(model).double(), ids)
    except Exception:  # whatever a part raises in float64; what it raises in float32 too is told
        pass
    try:
        return _measure(model, ids)
    except Exception as error:  # a part that takes not every length: what cannot be checked has failed
        steppers = len(_find_steppers(model))
        return DecodingCheck(len(ids), 0, None, None, steppers, None, trouble=f"{type(error).__name__}: {error}")


def _measure(model: nn.Module, ids: Sequence[int]) -> DecodingCheck:
    from paribus.nn.precision import watch_precision
    from paribus.training.generation import measure_decoding

    steppers = _find_steppers(model)
    with _fixed_noise(0), watch_precision() as computed_in:
        found = measure_decoding(model, _row(ids), steppers)
    return DecodingCheck(
        found.n_tokens,
        found.n_prefixes,
        _finite(found.by_prefixes),
        _finite(found.by_steps),
        len(steppers),
        _finite(found.largest_logit),
        max((name if name in TOLERANCES else "bfloat16" for name in computed_in), key=lambda name: TOLERANCES[name]),
    )


def _find_steppers(model: nn.Module) -> list[nn.Module]:
    from paribus.nn.slots import takes_steps

    return [part for part in model.modules() if takes_steps(part)]


def _finite(distance: float | None) -> float | None:
    return distance if distance is not None and math.isfinite(distance) else None


def _row(ids: Sequence[int]) -> Tensor:
    import torch

    return torch.tensor([ids])  # (1, T)


def _fixed_noise(seed: int) -> AbstractContextManager[None]:
    """For a part that draws even in eval mode."""
    from paribus.nn.noise import seeded

    return seeded(derive(seed, "sample", "noise"))


@contextmanager
def _blaming(arm: TrainedArm, doing: str) -> Iterator[None]:
    """Whatever a user's part raises inside becomes a PartError that names the arm."""
    try:
        yield
    except Exception as error:
        raise PartError(f"the model of {arm.name!r} cannot {doing}: {type(error).__name__}: {error}") from error
