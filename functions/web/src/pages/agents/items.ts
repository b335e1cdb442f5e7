import { act } from '../../data/agent-actions';
import type { AgentView } from '../../data/agents';
import { whyUserMayNot } from '../../data/session';
import { type Action, possible } from '../../data/shown';
import type { MenuItem } from '../../ui/menu';

export const RUNNING = 'Only while it runs';

/** An action as an item of a menu. If the user may not use it, or it cannot work now, the item says why. */
export function agentItem(view: AgentView, action: Action, item: MenuItem, hint?: string): MenuItem {
  const why = whyUserMayNot(action) ?? (possible(view.row, view.doing)[action] ? null : (hint ?? ''));
  if (why !== null) return { label: item.label, disabled: true, hint: why };
  if (action === 'open' || action === 'delete') return item;
  return { onSelect: () => act({ kind: action, agent: view.row }), ...item };
}
