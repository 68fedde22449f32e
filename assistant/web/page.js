// What holds on every page, acting on what Gradio has rendered: addresses, keys, focus, double clicks, the drawer.
() => {
  const one = (selector) => document.querySelector(selector);
  const on = (name, act) => window.addEventListener(name, act, true);
  const stop = (event) => { event.preventDefault(); event.stopImmediatePropagation(); };

  // A second press of the same button within half a second is the same press; only ‹ and › step on.
  const TWICE_MS = 500;
  let last = {};
  const isTwice = (what, event) => {
    const twice = what === last.what && event.timeStamp - last.at < TWICE_MS;
    last = {what, at: event.timeStamp};
    return twice;
  };
  on('click', (event) => {
    const button = event.target.closest?.('button');
    if (!button) last = {};  // something else was pressed between
    if (!button || !event.isTrusted || button.dataset.event === 'show') return;
    const named = button.id || Object.values(button.dataset).join(' ');
    if (isTwice(named || button, event)) stop(event);
  });

  // Keys: arrows move between tabs, Ctrl+Enter saves what is being written, Escape closes the drawer.
  const SAVES = {'prompt-text': 'prompt-save', 'new-prompt-text': 'create-assistant', 'assistant-name': 'create-assistant'};
  const STEPS = {ArrowRight: 1, ArrowLeft: -1};
  on('keydown', (event) => {
    const {target, key} = event;
    if (key === 'Escape') drawer(false);
    if (target.matches?.('[role=tab]') && (key in STEPS || key === 'Home' || key === 'End')) {
      const tabs = [...document.querySelectorAll('[role=tab]')].filter((tab) => tab.getClientRects().length > 0);
      const place = {Home: 0, End: -1}[key] ?? (tabs.indexOf(target) + STEPS[key]) % tabs.length;
      const next = tabs.at(place);
      stop(event);
      next.click();
      next.focus();
    } else if (key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      const save = target.closest('form')?.querySelector('[type=submit]')
        ?? document.getElementById(SAVES[target.closest(Object.keys(SAVES).map((id) => '#' + id))?.id]);
      if (!save) return;
      stop(event);
      if (!isTwice(save, event)) save.click();
    } else if (key === 'Enter' && !event.shiftKey && target.closest('#chat-input') && isTwice('chat-send', event)) {
      stop(event);
    }
  });

  // A tab that was clicked gives the keys back to its page, where arrows may mean something else.
  on('click', ({target, detail}) => { if (detail) setTimeout(() => target.closest('[role=tab]')?.blur()); });

  // On a phone the list of conversations is a drawer.
  const drawer = (open) => one('#chat-sidebar')?.classList.toggle('open', open);
  on('click', (event) => {
    if (event.target.closest('#chat-list-toggle')) drawer();
    else if (!event.target.closest('#chat-sidebar') || event.target.closest('button.open, #chat-new')) drawer(false);
  });

  // Focus: where an update has replaced what had it, its successor gets it; while a button that had it is disabled, what
  // is around it has it. Who writes keeps the box.
  let held = null;
  const selectors = (element) => {
    const data = ['event', 'id', 'toggle', 'do'].filter((name) => element.dataset[name] !== undefined);
    const panel = element.closest('[data-panel]');
    return [
      element.id && '#' + CSS.escape(element.id),
      data.length && data.map((name) => `[data-${name}="${CSS.escape(element.dataset[name])}"]`).join(''),
      panel && `[data-toggle="${CSS.escape(panel.id)}"]`,
    ].filter(Boolean);
  };
  on('focusin', ({target}) => {
    if (target === held?.own) return;
    const own = target.closest('.html-container')?.parentElement ?? target.closest('button')?.parentElement;
    const place = [...own?.querySelectorAll(target.tagName) ?? []].indexOf(target);
    held = own && {own, element: target, selectors: selectors(target), place};
  });
  on('focusout', ({target}) => setTimeout(() => {
    if (target === held?.own || target === held?.element && target.isConnected && !target.disabled) held = null;
  }));
  const refocus = () => {
    const waits = held && document.activeElement === held.own;
    if (!held || !waits && document.activeElement !== document.body) return;
    const {own, element, place} = held;
    if (!waits && element.isConnected && !element.disabled) return;
    const found = held.selectors.flatMap((selector) => [...own.querySelectorAll(selector)]);
    const there = (element.isConnected ? [element] : found.length ? found : [own.querySelectorAll(element.tagName)[place]])
      .filter((one) => one?.getClientRects().length);
    const next = there.find((one) => !one.disabled);
    if (!next && there.length) own.tabIndex = -1;
    if (next ?? there.length) (next ?? own).focus({preventScroll: true});
  };
  on('click', (event) => {
    if (event.target.closest('#chat-send, #chat-stop, #chat-new') && matchMedia('(hover: hover)').matches) {
      one('#chat-input textarea').focus();
    }
  });

  // Addresses: #review is a page, #chat/ID a conversation. `wanted` is one that was asked for and is not shown yet.
  let wanted = location.hash, asked = Date.now();
  const shown = () => {
    const tab = one('[role=tab][aria-selected=true]')?.dataset.tabId;
    const talk = one('#chat-log [data-conversation]')?.dataset.conversation;
    return tab === 'chat' ? talk !== undefined && `#chat${talk && '/' + talk}` : tab && '#' + tab;
  };
  const go = () => {
    const [page, talk] = wanted.slice(1).split('/');
    const tab = [...document.querySelectorAll('[role=tab]')].find((tab) => tab.dataset.tabId === page);
    if (tab?.getClientRects().length && tab.ariaSelected !== 'true') tab.click();
    if (page === 'chat' && shown() && shown() !== wanted) {
      const listed = talk ? one(`#conversation-list .open[data-id="${CSS.escape(talk)}"]`) : one('#chat-new');
      if (listed) listed.click(); else location.reload();
    }
  };
  const settle = () => {
    const now = shown();
    if (!now) return;
    if (wanted && wanted !== now && Date.now() - asked < 30000) {
      if (!wanted.startsWith('#chat')) go();
      return;
    }
    if (now !== location.hash) history[wanted || !location.hash ? 'replaceState' : 'pushState'](null, '', now);
    wanted = '';
    document.title = `${one('[role=tab][aria-selected=true]').innerText} · Shorthand`;
  };
  on('click', (event) => { if (event.isTrusted && event.target.closest('[role=tab], .open, #chat-new')) wanted = ''; });
  on('popstate', () => { [wanted, asked] = [location.hash, Date.now()]; if (wanted) go(); });

  // What scrolls can be reached by keyboard, and the chat ends where the window does.
  const header = new ResizeObserver(() => {
    const top = one('#chat-page').getBoundingClientRect().top + window.scrollY;
    if (top > 0) document.documentElement.style.setProperty('--chat-top', `${Math.ceil(top)}px`);
  });
  const look = () => {
    refocus();
    settle();
    for (const part of document.querySelectorAll('.table, .cards, .review-text')) part.tabIndex = 0;
  };
  header.observe(one('#header'));
  header.observe(one('#tabs'));
  new MutationObserver(look).observe(document.body, {
    childList: true, subtree: true, attributeFilter: ['aria-selected', 'data-conversation', 'disabled'],
  });
  look();
}
