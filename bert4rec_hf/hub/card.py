# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The README.md of a checkpoint."""

import json
import os
from collections.abc import Callable

from datasets import Dataset
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import TrainingArguments

from ..data.collators import DataCollatorForItemMasking
from ..data.encoding import history_lengths
from ..data.splits import Split
from ..evaluation.reports import (
    DATA_REPORT,
    MODEL_REPORT,
    in_short,
    key_metrics,
    metrics_table,
    rivals_text,
    tie_rule,
    times_text,
    verdicts,
    windows_table,
)
from ..evaluation.windows import ALL_USERS, MODEL
from ..files import atomic_write
from ..model.configuration_bert4rec import Bert4RecEnsembleConfig
from ..model.modeling_bert4rec import Bert4RecForMaskedLM
from ..model.modeling_bert4rec_ensemble import Bert4RecEnsembleForMaskedLM
from ..model.processing_bert4rec import Bert4RecProcessor


def write_model_card(
    save_dir: str,
    model: Bert4RecForMaskedLM | Bert4RecEnsembleForMaskedLM,
    processor: Bert4RecProcessor,
    training_args: TrainingArguments | None = None,
    collator: Callable | None = None,
    train_dataset: Dataset | None = None,
    evaluation: dict | None = None,
    model_name: str = "BERT4Rec",
    model_id: str | None = None,
    tags: list[str] | None = None,
    license: str = "apache-2.0",
    language: str | None = None,
    base_model: str | list[str] | None = None,
    revision: str | None = None,
) -> ModelCard:
    """
    Writes README.md into a checkpoint: what it is, how to load it, its data, its results beside the baselines, how it
    was trained.

    Args:
        training_args (`TrainingArguments`, *optional*): how it was trained.
        collator (`Callable`, *optional*): a [`DataCollatorForItemMasking`], whose settings the card shows.
        train_dataset (`Dataset`, *optional*): from [`encode_training`], to count users and events.
        evaluation (`dict`, *optional*): the `report` of [`evaluate`]. The pictures of the reports are shown where
            `save_dir` has them.
        model_name (`str`, *optional*, defaults to `"BERT4Rec"`): the heading.
        model_id (`str`, *optional*): what the examples load; by default `save_dir`, or its last part if absolute.
        tags, license, language (*optional*): for the metadata; the licence is that of the code if not given.
        base_model (`str` or `list[str]`, *optional*): ids on the Hub of the models it is based on.
        revision (`str`, *optional*, defaults to `"main"`): the branch that the examples load.
    """
    vocabulary, config = processor.vocabulary, model.config
    item_features, user_features = vocabulary.get("item_features", []), vocabulary.get("user_features", [])
    profile = {feature["name"]: feature["values"][0] for feature in user_features if feature["values"]}
    profile = json.dumps(profile, ensure_ascii=False) if profile else ""
    split = str(Split(**processor.split)) if processor.split else "not recorded"
    data = {
        "Items": f"{len(vocabulary['item_ids']):,}",
        "Vocabulary (SHA-256)": processor.vocabulary_hash,
        "Item features": ", ".join(f"{f['name']} ({len(f['values'])})" for f in item_features) or "none",
        "User features": ", ".join(f"{f['name']} ({len(f['values'])})" for f in user_features) or "none",
        "Split": split,
    }
    if vectors := vocabulary.get("vector_features"):
        data["Item vectors"] = ", ".join(f"{vector['name']} ({vector['size']} numbers)" for vector in vectors)
    if isinstance(train_dataset, Dataset) and "input_ids" in train_dataset.column_names:
        events = f"{int(history_lengths(train_dataset).sum()):,} by {len(train_dataset):,} users"
        data = {"Training events": events, **data}
    if isinstance(config, Bert4RecEnsembleConfig):
        weights = config.weights or [1.0] * len(config.members)
        training = {"Voting": f"mean {config.voting.replace('_', ' ')} of {len(weights)} members"}
        for number, (member, weight) in enumerate(zip(model.members, weights), start=1):
            sizes = "; ".join(f"{name.lower()} {value}" for name, value in _sizes(member).items())
            training[f"Member {number}, weight {weight / sum(weights):.2f}"] = sizes
    else:
        training = _sizes(model)
    if isinstance(collator, DataCollatorForItemMasking):
        training["Mask probability"] = collator.mlm_probability
        if collator.mlm:
            last = "item" if collator.last_items == 1 else f"1 to {collator.last_items} items"
            training[f"Rows that predict only the last {last}"] = collator.last_item_probability
    if training_args is not None:
        if training_args.max_steps > 0:
            training["Steps"] = training_args.max_steps
        else:
            training["Epochs"] = f"{training_args.num_train_epochs:g}"
        training |= {
            "Batch size": training_args.train_batch_size * training_args.gradient_accumulation_steps,
            "Optimizer": f"AdamW, peak learning rate {training_args.learning_rate:g}",
            "Schedule": training_args.lr_scheduler_type.value,
            "Weight decay": training_args.weight_decay,
            "Seed": training_args.seed,
        }
    card = ModelCard.from_template(
        ModelCardData(
            library_name="bert4rec-hf",
            tags=list(dict.fromkeys(["recommender-system", "sequential-recommendation", "bert4rec", *(tags or [])])),
            model_name=model_name,
            license=license,
            language=language,
            base_model=base_model,
            eval_results=_eval_results({"split": split, **evaluation}) if evaluation else None,
        ),
        template_path=os.path.join(os.path.dirname(__file__), "model_card_template.md"),
        model_name=model_name,
        model_id=model_id or (os.path.basename(save_dir) if os.path.isabs(save_dir) else save_dir),
        history=json.dumps(vocabulary["item_ids"][:2], ensure_ascii=False),
        profile_item=profile and f', "profile": {profile}',
        profiles_argument=profile and f", [{profile}]",
        revision=revision or "main",
        is_causal=all(member.config.is_causal for member in getattr(model, "members", [model])),
        reads_times=config.time_intervals != "none",
        mask_probability=getattr(collator, "mlm_probability", 0.2),
        data_table=_rows(data) + _picture(save_dir, DATA_REPORT, "What the log is like"),
        results=_results(evaluation) + (_picture(save_dir, MODEL_REPORT, "By window") if evaluation else ""),
        training_table=_rows(training),
        unknown_items={"skip": "left out", "unk": "read as UNK", "error": "refused"}[processor.unknown_items],
    )
    with atomic_write(os.path.join(save_dir, "README.md")) as part:
        card.save(part)
    return card


def _sizes(model: Bert4RecForMaskedLM) -> dict:
    config = model.config
    return {
        "Objective": "each next item (causal)" if config.is_causal else "masked items",
        **({"Repeat prior": "the user's own history"} if config.repeat_prior else {}),
        **({"Items of the history": "never recommended"} if config.exclude_seen_in_loss else {}),
        **({} if config.time_intervals == "none" else {"Times": f"between events, in the {config.time_intervals}"}),
        "Hidden size": config.hidden_size,
        "Layers, heads": f"{config.num_hidden_layers}, {config.num_attention_heads}",
        "Parameters": f"{model.num_parameters():,}",
        "Longest sequence": config.max_position_embeddings,
        "Dropout": config.hidden_dropout_prob,
    }


def _rows(values: dict) -> str:
    return "\n".join(f"| {name} | {value} |" for name, value in values.items())


def _picture(save_dir: str, name: str, title: str) -> str:
    return f"\n\n![{title}]({name}.png)" if os.path.exists(os.path.join(save_dir, f"{name}.png")) else ""


def _results(evaluation: dict | None) -> str:
    if evaluation is None:
        return "None were measured: there is nothing to say how well it recommends."
    windows = evaluation["windows"]
    first = windows[0]
    members = evaluation.get("members", ())  # only their mean is shown
    results = {name: metrics for name, metrics in first["groups"][ALL_USERS]["results"].items() if name not in members}
    parts = [
        " ".join(in_short(evaluation)),
        f"{first['num_users']:,} users, {first['num_targets']:,} targets of the {evaluation['subset']} rows"
        f"{' of ' + first['name'] if len(windows) > 1 else ''}, {first['unknown_targets']:.1%} of them outside the"
        " vocabulary, which count as misses. Every item is ranked, "
        f"{'without' if evaluation['exclude_seen'] else 'with'} those a user has seen. Recall is divided by min(k,"
        " number of targets); score is 0.75 recall + 0.25 NDCG.",
        " ".join([*tie_rule(first), *times_text(evaluation), *rivals_text(evaluation)]),
        metrics_table(results, key_metrics(evaluation["k"])),
    ]
    if len(windows) > 1:
        parts += [windows_table(evaluation, group) for group in first["groups"]]
    not_beaten = verdicts(evaluation)
    if not_beaten:
        parts.append(
            "\n".join(
                ["Where it does not safely beat a simple rule or a rival:", "", *(f"- {line}" for line in not_beaten)]
            )
        )
    return "\n\n".join(filter(None, parts))


def _eval_results(evaluation: dict) -> list[EvalResult]:
    results = evaluation["windows"][0]["groups"][ALL_USERS]["results"]
    return [
        EvalResult(
            task_type="other",
            task_name="sequential recommendation",
            dataset_type="private",
            dataset_name=f"training log, split {evaluation['split']}",
            dataset_split=evaluation["subset"],
            metric_type=name,
            metric_value=round(figure["mean"], 4),
        )
        for name, figure in results.get(MODEL, {}).items()
        if name in key_metrics(evaluation["k"]) and figure["mean"] is not None
    ]
