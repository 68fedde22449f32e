// Clicks inside a gr.HTML become Gradio events; the markup says what a click means:
// - data-event="rate" fires the event `rate` with all of the button's data and, inside a form, the form's fields;
// - data-toggle="ID" opens or closes the panel of that id and closes the other ones;
// - data-copy copies the attribute's text.
const names = [NAMES];
element.addEventListener('submit', (event) => event.preventDefault());
element.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  element.querySelectorAll('[data-panel]').forEach((panel) => { panel.hidden = true; });
});
element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button || button.disabled) return;
  if (button.dataset.toggle) {
    const wanted = element.querySelector('#' + CSS.escape(button.dataset.toggle));
    const opens = wanted.hidden;
    element.querySelectorAll('[data-panel]').forEach((panel) => {
      panel.hidden = panel !== wanted && !panel.contains(wanted) || (panel === wanted && !opens);
    });
    if (opens) {
      wanted.hidden = false;
      wanted.querySelector('textarea, input')?.focus();
      wanted.scrollIntoView({block: 'nearest'});
    }
  } else if (button.dataset.copy !== undefined) {
    const text = button.dataset.copy;
    const done = () => {
      button.classList.add('done');
      setTimeout(() => button.classList.remove('done'), 1200);
    };
    const byHand = () => {  // the clipboard API exists on https and localhost only
      const field = document.createElement('textarea');
      field.value = text;
      document.body.append(field);
      field.select();
      document.execCommand('copy');
      field.remove();
      done();
    };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, byHand); else byHand();
  } else if (names.includes(button.dataset.event)) {
    const form = button.closest('form');
    const fields = form ? Object.fromEntries(new FormData(form)) : {};
    trigger(button.dataset.event, {...button.dataset, ...fields});
    // Gradio keeps what stands in a field when the page is drawn again; a password is not left standing.
    form?.querySelectorAll('input[type=password]').forEach((field) => { field.value = ''; });
  }
});
