"""Actions: model, prompts, typed outputs with their fallback values, limits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from providers.base import Message
from runtime.actions import outputs as typed
from runtime.actions.outputs import OutputField
from runtime.actions.prompts import Prompt, compiled
from runtime.actions.render_budget import Budget
from runtime.ids import ID_PATTERN

_OPTIONS_LIMIT = 1_000
"""Of one schema, in OpenAI's strict mode (Structured Outputs guide, "Supported schemas")."""

_Count = Annotated[int, Field(strict=True, gt=0)]


class ActionLimits(BaseModel):
    """Limits for one execution of an action.

    Args:
        max_output_tokens: the most output of one call.
        min_output_tokens: the least output that a lowered call must leave room for. By default
            the tokens of the longest valid answer, as the action's model counts them.
        reservation: ``worst_case`` reserves for all of ``max_output_tokens``; ``adaptive``
            reserves for as much as answers of this action have taken so far.
        deadline_ms: the time for the whole execution.
        attempts: the most calls of the provider, 1 to 10.
        attempt_timeout_ms: the time for each call; by default the deadline alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    max_output_tokens: _Count
    min_output_tokens: _Count | None = None
    reservation: Literal["worst_case", "adaptive"] = "worst_case"
    deadline_ms: _Count = 30_000
    attempts: Annotated[int, Field(strict=True, ge=1, le=10)] = 2
    attempt_timeout_ms: _Count | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for low, high in (
            ("min_output_tokens", "max_output_tokens"),
            ("attempt_timeout_ms", "deadline_ms"),
        ):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and least > most:
                raise ValueError(f"{low} is {least}, which is more than {high}, {most}")
        return self


class ActionSpec(BaseModel):
    """An LLM action: model, prompt templates, typed outputs with their fallback values, limits.

    It is immutable; ``model_copy(update=...)`` returns a changed copy. What does not depend on a
    person is computed once.

    Example::

        ActionSpec.model_validate(
            {
                "id": "route_message",
                "model": "quick",
                "user": "Route this message: {{ customer.message }}",
                "outputs": {
                    "intent": {
                        "type": "single_select",
                        "options": ["card", "transfer", "other"],
                        "fallback": "other",
                    }
                },
                "limits": {"max_output_tokens": 200},
            }
        )

    Args:
        id: 1 to 64 of ``A-Z a-z 0-9 _ . -``.
        model: the id of a model in the config.
        system: the system message, a Liquid template; empty for none.
        user: the user message, a Liquid template.
        outputs: the typed outputs by name, each with its ``fallback`` value.
        limits: tokens, time and attempts for one execution.
        temperature: 0 to 2; the provider's default if ``None``.
        allow_replacement_model: once the model is retired, call the one that replaces it.

    Raises:
        pydantic.ValidationError: (a ``ValueError``) a field is wrong, a fallback value does not
            fit its output, a template has a syntax error or reads from an unknown scope, or two
            outputs write to the same attribute.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=ID_PATTERN)]
    model: Annotated[str, Field(min_length=1, max_length=200)]
    system: str = ""
    user: str
    outputs: Annotated[
        dict[Annotated[str, Field(pattern=typed.NAME_PATTERN)], OutputField], Field(min_length=1)
    ]
    limits: ActionLimits
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    allow_replacement_model: bool = True

    def __getstate__(self) -> dict[Any, Any]:
        """Return the fields alone: compiled templates can't be pickled, and are made anew."""
        state = super().__getstate__()
        fields = type(self).model_fields
        state["__dict__"] = {name: state["__dict__"][name] for name in fields}
        return state

    @field_validator("system", "user")
    @classmethod
    def _check_template(cls, source: str, info: ValidationInfo) -> str:
        if info.field_name == "user" and not source.strip():
            raise ValueError("the user prompt is empty; it must say what the model is to do")
        compiled(str(info.field_name), source)
        return source

    @field_validator("outputs")
    @classmethod
    def _check_outputs(cls, outputs: dict[str, OutputField]) -> dict[str, OutputField]:
        options = sum(len(getattr(output, "options", ())) for output in outputs.values())
        if options > _OPTIONS_LIMIT:
            raise ValueError(f"all options together may be {_OPTIONS_LIMIT}, found {options}")
        writers: dict[tuple[str, str], str] = {}
        for name, output in outputs.items():
            target = (output.store_as, output.attribute or name)
            if target in writers:
                raise ValueError(
                    f"outputs {writers[target]!r} and {name!r} both write to the {target[0]} "
                    f"attribute {target[1]!r}; give one of them another `attribute`"
                )
            writers[target] = name
        return outputs

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a validated copy with the given fields replaced."""
        # pydantic's own copy validates nothing and would carry the computed version along.
        return self.model_validate({**self.model_dump(), **(update or {})})

    def to_json(self) -> dict[str, Any]:
        """Return the content in plain JSON types; ``model_validate`` makes the same spec of it."""
        # Defaults are left out, so that a release that adds a setting renames no action.
        content = self.model_dump(mode="json", exclude_defaults=True)
        content["outputs"] = {
            name: {"type": output.type, **output.model_dump(mode="json", exclude_defaults=True)}
            for name, output in self.outputs.items()
        }
        return content

    @cached_property
    def version(self) -> str:
        """The name of this content, the same in every process: 12 hexadecimal digits."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @cached_property
    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema that an answer must follow, in OpenAI's strict style."""
        return typed.json_schema(self.outputs)

    @cached_property
    def fallbacks(self) -> dict[str, Any]:
        """The fallback value of every output."""
        return {name: output.fallback for name, output in self.outputs.items()}

    @cached_property
    def _prompts(self) -> tuple[Prompt, Prompt]:
        return compiled("system", self.system), compiled("user", self.user)

    @cached_property
    def _instruction(self) -> str:
        return typed.instruction(self.outputs)

    @cached_property
    def _schema_instruction(self) -> str:
        return typed.schema_instruction(self.json_schema)

    @cached_property
    def _targets(self) -> tuple[tuple[str, str, str], ...]:
        return tuple(
            (name, output.store_as, output.attribute or name)
            for name, output in self.outputs.items()
        )

    @cached_property
    def written_to(self) -> dict[str, dict[str, str]]:
        """The output that is written to each attribute, by store; a store without any is left out.

        Do not change it.
        """
        attributes = self.attributes({name: name for name in self.outputs})
        return {store: names for store, names in attributes.items() if names}

    def required_attributes(self) -> tuple[str, ...]:
        """Return the paths that the templates read, as ``customer.first_name``, sorted."""
        system, user = self._prompts
        return tuple(sorted({*system.required_attributes(), *user.required_attributes()}))

    def render(
        self,
        data: Mapping[str, Mapping[str, Any]],
        *,
        with_instruction: bool = False,
        with_schema: bool = False,
        prepend: str = "",
    ) -> list[Message]:
        """Return the messages for one person.

        Args:
            data: the scopes that templates read.
            with_instruction: add the form of the answer to the system message, for models that
                follow no JSON Schema.
            with_schema: say that form by the JSON Schema, for models that can be held to JSON.
            prepend: plain text that opens the system message: the compliance prompt.

        Raises:
            PromptError: a value that a template prints is missing in ``data``, or the template
                failed.
        """
        system, user = self._prompts
        budget = Budget()
        text = system.render(data, budget)
        if prepend or with_instruction:
            instruction = self._schema_instruction if with_schema else self._instruction
            parts = (prepend, text, instruction if with_instruction else "")
            text = "\n\n".join(part for part in parts if part)
        messages = [{"role": "user", "content": user.render(data, budget)}]
        if text:
            messages.insert(0, {"role": "system", "content": text})
        return messages

    def attributes(self, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Sort values by the store and the attribute that each output writes to."""
        stores: dict[str, dict[str, Any]] = {"journey": {}, "customer": {}}
        for name, store, attribute in self._targets:
            stores[store][attribute] = values[name]
        return stores
