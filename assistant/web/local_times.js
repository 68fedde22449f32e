// The server writes times in its own zone, which may be another one than the reader's.
const localize = () => element.querySelectorAll('time[data-at]').forEach((time) => {
  const at = new Date(1000 * time.dataset.at);
  const day = at.toLocaleDateString('en-GB', {day: '2-digit', month: 'short'});
  const clock = at.toLocaleTimeString('en-GB', {hour: '2-digit', minute: '2-digit'});
  time.textContent = {day, clock}[time.dataset.form] || `${day}, ${clock}`;
  delete time.dataset.at;
});
localize();
new MutationObserver(localize).observe(element, {childList: true, subtree: true, attributeFilter: ['data-at']});
