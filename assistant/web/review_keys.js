// One key for one action on the Review page. A key presses the button that has it in its data-key, so whatever a key does can
// be clicked. Keys do nothing while somebody types, while another page is shown, and while a key is held down.
//
// An action shows the following answer at once, which the page has behind the card; until the decision is saved its buttons
// wait. Where it could not be saved, or the app has not answered within 8 seconds, the same card comes back with what was
// typed. That is kept by the browser tab as well, since Gradio loads the page anew when the app was gone for a while.
const same = {arrowright: 's', u: 'z'};
const turn = () => element.querySelector('[data-turn]')?.dataset.turn;
const key = (name) => element.querySelector(`[data-key~="${CSS.escape(name)}"]`);
const typing = (target) => target.closest?.('input, textarea, select, [contenteditable="true"]');
const listen = (event) => {
  if (!element.isConnected) { document.removeEventListener('keydown', listen); return; }
  if (!element.getClientRects().length) return;
  if (typing(event.target)) {
    const ours = event.target.closest('#review-page');
    if (ours && event.key === 'Escape') event.target.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === '/') {
    event.preventDefault();
    document.querySelector('#review-search input, #review-search textarea')?.focus();
    return;
  }
  const pressed = event.key.toLowerCase();
  const button = key(same[pressed] ?? pressed);
  if (!button) return;
  event.preventDefault();
  button.click();
  if (button.dataset.key === 'c') {
    const field = element.querySelector('#review-correction');
    if (field?.offsetParent) field.setSelectionRange(field.value.length, field.value.length);
  }
};
document.addEventListener('keydown', listen);
const drafts = {
  all() {
    try { return JSON.parse(sessionStorage.getItem('shorthand-drafts')) || {}; } catch { return {}; }
  },
  set(id, text) {
    const all = this.all();
    if (text === undefined) delete all[id]; else all[id] = text;
    try { sessionStorage.setItem('shorthand-drafts', JSON.stringify(all)); } catch { /* full: the box has it */ }
  },
};
let saving = null;  // what was pressed, until the page shows what came of it
const restore = () => {
  const id = key('save')?.dataset.id;
  if (saving && turn() !== saving.turn) {
    if (id !== saving.id) drafts.set(saving.id);
    saving = null;
  }
  const draft = saving ? undefined : drafts.all()[id];
  const field = element.querySelector('#review-correction');
  if (draft === undefined || field.value === draft) return;
  field.value = draft;
  element.querySelector('#review-editor').hidden = false;
  say('This correction is not saved yet.');
};
const say = (text) => {
  const place = element.querySelector('.review-notice');
  place.innerHTML = '<p class="notice bad"></p>';
  place.firstChild.textContent = text;
};
const placed = new WeakSet();
const arrive = () => {
  const text = element.querySelector('.review-text');
  if (!text || placed.has(text)) return;
  placed.add(text);
  const before = text.querySelector('.review-before');  // the question comes into sight
  if (before) text.scrollTop = before.offsetTop - text.offsetTop + before.offsetHeight - 80;
  restore();
};
new MutationObserver(arrive).observe(element, {childList: true, subtree: true});
element.addEventListener('input', (event) => {
  if (event.target.id === 'review-correction') drafts.set(key('save').dataset.id, event.target.value);
});
element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button || button.disabled) return;
  if (button.dataset.fill !== undefined) {
    const field = element.querySelector('#review-correction');
    field.value = button.dataset.fill;
    field.focus();
  }
  if (button.dataset.event !== 'act') return;
  event.preventDefault();  // a form that is taken away cannot be submitted
  const before = turn();
  if (!['undo', 'skip'].includes(button.dataset.do)) saving = {id: button.dataset.id, turn: before};
  const card = element.querySelector('.review-card');
  const next = element.querySelector('.review template');
  const shown = [...card.childNodes];
  const buttons = [...card.querySelectorAll('[data-event="act"]')].filter((one) => !one.disabled);
  if (next && button.dataset.do !== 'undo') card.replaceChildren(next.content.cloneNode(true));
  card.querySelectorAll('button').forEach((one) => { one.disabled = true; });
  setTimeout(() => {
    if (turn() !== before) return;
    card.replaceChildren(...shown);
    card.querySelectorAll('button').forEach((one) => { one.disabled = false; });
    card.querySelector('#review-undo').disabled = !buttons.some((one) => one.id === 'review-undo');
    saving = null;
    say('Not saved: the app does not answer. Look whether it runs, then press again.');
  }, 8000);
});
