import { sessionStore } from '../data/session';
import { toast } from '../data/toasts';
import { pages } from '../pages';
import { loadMenu } from '../ui/menu';

/** Once the first view has come to rest: what is loaded already opens at once, and no deploy can take it away. */
export function fetchTheRest(): void {
  window.addEventListener('vite:preloadError', () => {
    toast({
      tone: 'warn',
      text: navigator.onLine
        ? 'A new version of this page is available. Reload it to continue.'
        : 'This device is offline, and this part of the page is not loaded yet.',
    });
  });
  const all = () => {
    if (!navigator.onLine) {
      window.addEventListener('online', all, { once: true });
      return;
    }
    const session = sessionStore.get();
    const operator = session.state === 'in' && session.user.superAdmin;
    const mine = pages.filter((page) => page.who === 'everyone' || operator).map((page) => page.load);
    // Not by way of ui/dialog, which the first view does not need.
    const dialog = () => import('../ui/overlays/dialog');
    const note = () => import('../pages/agents/job-note');
    for (const load of [loadMenu, dialog, note, ...mine]) void load().catch(() => {});
  };
  const idle = () =>
    'requestIdleCallback' in window ? requestIdleCallback(all, { timeout: 10_000 }) : setTimeout(all, 3_000);
  if (document.readyState === 'complete') setTimeout(idle, 1_500);
  else window.addEventListener('load', () => setTimeout(idle, 1_500));
}
