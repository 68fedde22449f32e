// Keeps the newest line in sight while text streams in, unless the person has scrolled up to read.
const pane = element.closest('.scroll-pane');
if (pane) {
  let follows = true;
  pane.addEventListener('scroll', () => {
    follows = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 60;
  });
  new MutationObserver((changes) => {
    const other = changes.some((change) => change.target.closest?.('[data-conversation]')
      && change.type === 'attributes');
    if (other) follows = true;
    if (follows) pane.scrollTop = pane.scrollHeight;
  }).observe(pane, {childList: true, characterData: true, subtree: true,
                    attributes: true, attributeFilter: ['data-conversation']});
  pane.scrollTop = pane.scrollHeight;
}
