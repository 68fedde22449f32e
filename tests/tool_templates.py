"""Chat templates that have tools, each small, after those of Hermes and Qwen, Llama 3.1 and Mistral."""

from model_kinds import CHATML, LLAMA3, Template


def one_line(text: str) -> str:
    return "".join(line.strip() for line in text.splitlines())


HERMES = Template(
    one_line(r"""
    {% if tools %}{{ '<|im_start|>system\n' }}
        {% if messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}{% endif %}
        {{ '# Tools\n<tools>' }}{% for tool in tools %}{{ '\n' }}{{ tool | tojson }}{% endfor %}
        {{ '\n</tools><|im_end|>\n' }}
    {% elif messages[0].role == 'system' %}{{ '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
    {% endif %}
    {% for m in messages %}
        {% if m.role == 'user' or m.role == 'system' and not loop.first or m.role == 'assistant' and not m.tool_calls %}
            {{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}
        {% elif m.role == 'assistant' %}
            {{ '<|im_start|>' + m.role }}{% if m.content %}{{ '\n' + m.content }}{% endif %}
            {% for call in m.tool_calls %}
                {{ '\n<tool_call>\n{"name": "' }}{{ call.function.name }}{{ '", "arguments": ' }}
                {{ call.function.arguments | tojson }}{{ '}\n</tool_call>' }}
            {% endfor %}{{ '<|im_end|>\n' }}
        {% elif m.role == 'tool' %}
            {% if messages[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}
            {{ '\n<tool_response>\n' }}{{ m.content }}{{ '\n</tool_response>' }}
            {% if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\n' }}{% endif %}
        {% endif %}
    {% endfor %}
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""),
    (*CHATML.controls, "<tool_call>", "</tool_call>"),
    "<|im_end|>",
)
LLAMA31 = Template(
    one_line(r"""
    {{ bos_token }}{% set system = '' %}
    {% if messages[0].role == 'system' %}
        {% set system = messages[0].content | trim %}{% set messages = messages[1:] %}
    {% endif %}
    {{ '<|start_header_id|>system<|end_header_id|>\n\n' + system + '<|eot_id|>' }}
    {% if tools %}
        {% set first = messages[0].content | trim %}{% set messages = messages[1:] %}
        {{ '<|start_header_id|>user<|end_header_id|>\n\nGiven these functions, answer with JSON.\n\n' }}
        {% for t in tools %}{{ t | tojson(indent=4) }}{{ '\n\n' }}{% endfor %}{{ first + '<|eot_id|>' }}
    {% endif %}
    {% for m in messages %}
        {% if not (m.role == 'tool' or 'tool_calls' in m) %}
            {{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}
        {% elif 'tool_calls' in m %}
            {% if not m.tool_calls | length == 1 %}
                {{ raise_exception('This model only supports single tool-calls at once!') }}
            {% endif %}
            {% set call = m.tool_calls[0].function %}
            {{ '<|start_header_id|>assistant<|end_header_id|>\n\n{"name": "' + call.name + '", "parameters": ' }}
            {{ call.arguments | tojson }}{{ '}<|eot_id|>' }}
        {% else %}
            {{ '<|start_header_id|>ipython<|end_header_id|>\n\n' }}{{ m.content | tojson }}{{ '<|eot_id|>' }}
        {% endif %}
    {% endfor %}
    {% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"""),
    LLAMA3.controls,
    "<|eot_id|>",
    bos="<|begin_of_text|>",
    eos="<|end_of_text|>",
)
MISTRAL3 = Template(
    one_line(r"""
    {% set talk = messages %}
    {% if messages[0].role == 'system' %}
        {% set system = messages[0].content %}{% set talk = messages[1:] %}
    {% endif %}
    {% set ns = namespace(n=0) %}
    {% for m in talk if not (m.role == 'tool' or m.tool_calls is defined) %}
        {% if (m.role == 'user') != (ns.n % 2 == 0) %}{{ raise_exception('Roles must alternate.') }}{% endif %}
        {% set ns.n = ns.n + 1 %}
    {% endfor %}
    {% set users = talk | selectattr('role', 'equalto', 'user') | list %}{{ bos_token }}
    {% for m in talk %}
        {% if m.role == 'user' %}
            {% if tools and m == users[-1] %}{{ '[AVAILABLE_TOOLS][' }}
                {% for tool in tools %}{{ '{"type": "function", "function": {' }}
                    {% for key, value in tool.function.items() if key != 'return' %}
                        {% if value is string %}{{ '"' + key + '": "' + value + '"' }}
                        {% else %}{{ '"' + key + '": ' + value | tojson }}{% endif %}{{ ', ' if not loop.last }}
                    {% endfor %}{{ '}}' }}{{ ', ' if not loop.last }}
                {% endfor %}{{ '][/AVAILABLE_TOOLS]' }}
            {% endif %}
            {% set before = system + '\n\n' if loop.last and system is defined else '' %}
            {{ '[INST] ' + before + m.content + '[/INST]' }}
        {% elif m.tool_calls is defined %}{{ '[TOOL_CALLS][' }}
            {% for call in m.tool_calls %}
                {% set out = call.function | tojson %}{{ out[:-1] }}
                {% if call.id | length != 9 %}{{ raise_exception('Call ids have 9 characters.') }}{% endif %}
                {{ ', "id": "' + call.id + '"}' }}{{ ', ' if not loop.last else ']' + eos_token }}
            {% endfor %}
        {% elif m.role == 'assistant' %}{{ ' ' + m.content | trim + eos_token }}
        {% else %}
            {{ '[TOOL_RESULTS]{"content": ' + m.content | string + ', "call_id": "' + m.tool_call_id + '"}' }}
            {{ '[/TOOL_RESULTS]' }}
        {% endif %}
    {% endfor %}"""),
    (
        *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"),
        *("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    ),
    "</s>",
    bos="<s>",
)
TOOL_TEMPLATES = {"hermes": HERMES, "llama": LLAMA31, "mistral": MISTRAL3}
