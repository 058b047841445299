"""Chat templates are strangers' programs: they may not hang, grow, or get out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chatapp.core.errors import ModelError
from chatapp.engine.template import MAX_TEMPLATE, TemplateRefused, render


def run(source: str, seconds: float = 0.5) -> str:
    return render(
        source, [{"role": "user", "content": "hi"}], bos="<s>", eos="</s>", reply=True, seconds=seconds
    )


def test_renders_as_models_expect() -> None:
    source = (
        "{{ bos_token }}{%- for m in messages %}\n  {% if m.role == 'user' %}\n[{{ m['content'] | trim }}]\n"
        "  {% endif %}\n{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
    )
    assert run(source) == "<s>[hi]\nA:"
    assert run("{% generation %}{{ eos_token }}{%- endgeneration -%}") == "</s>"
    assert run("{% for m in messages %}{% break %}{% endfor %}{{ strftime_now('%Y') | length }}") == "4"


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set n = namespace(s='xxxxxxxx') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{{ 'x' * 99999999999 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% set ns = namespace(n=7) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
        "{{ '%99999999999d' % 1 }}",
        "{{ 'x'.center(99999999999) }}",
        "{{ range(999999999) | list }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% include '/etc/passwd' %}",
        "{{ undefined.attribute }}",
        "{% if %}",
        "{{ 1 / 0 }}",
        "x" * (MAX_TEMPLATE + 1),
    ],
)
def test_a_bad_template_is_refused_quickly(source: str) -> None:
    begun = time.thread_time()
    with pytest.raises(ModelError):
        run(source)
    assert time.thread_time() - begun < 3


def test_a_template_that_raises_is_told_apart() -> None:
    with pytest.raises(TemplateRefused, match="System role not supported"):
        run("{{ raise_exception('System role not supported') }}")


def test_memory_is_unlimited_again_afterwards() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_AS)
    run("fine")
    with pytest.raises(ModelError):
        run("{{ 'x' * 99999999999 }}")
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_nothing_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    escape = "{{ self.__init__.__globals__.__builtins__.open('escaped', 'w') }}"
    with pytest.raises(ModelError):
        run(escape)
    assert not list(tmp_path.iterdir())
