// What was typed comes back after the page was loaded again, as it is by itself once a lost connection is there again.
// A text box is known by the ids around it; each tab has its own drafts, and each person.
{
  const name = () => 'shorthand-drafts ' + (window.gradio_config?.username ?? '');
  const boxes = () => document.querySelectorAll('textarea, input[type=text], input:not([type])');
  const place = (box) => {
    const path = [box.name || box.className.split(' ')[0]];
    for (let at = box; at; at = at.parentElement) {
      if (at.id && !/^(component-)/.test(at.id)) path.unshift(at.id);
      if (at.dataset.id) path.unshift(at.dataset.id);
    }
    return path.join('/');
  };
  const changed = new Set();
  document.addEventListener('input', (event) => changed.add(event.target));
  addEventListener('pagehide', () => {
    const drafts = {};
    for (const box of boxes()) if (changed.has(box) && box.value) drafts[place(box)] = box.value;
    sessionStorage.setItem(name(), JSON.stringify(drafts));
  });
  const drafts = JSON.parse(sessionStorage.getItem(name()) ?? '{}');
  const restore = () => {
    for (const box of boxes()) {
      const text = drafts[place(box)];
      if (text === undefined || box.disabled || box.readOnly) continue;
      delete drafts[place(box)];
      const panel = box.closest('[data-panel]');
      if (panel) panel.hidden = false;
      box.value = text;
      box.dispatchEvent(new Event('input', {bubbles: true}));
    }
    if (!Object.keys(drafts).length) watcher.disconnect();
  };
  const watcher = new MutationObserver(restore);
  watcher.observe(document, {childList: true, subtree: true});
}
