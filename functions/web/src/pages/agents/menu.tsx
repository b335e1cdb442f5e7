import { lazy, Suspense, useState } from 'react';
import type { AgentView } from '../../data/agents';
import { nameOf } from '../../data/announcer';
import { Menu } from '../../ui/menu';
import { agentItem, RUNNING } from './items';

const DeleteAgent = lazy(async () => ({ default: (await import('./delete')).DeleteAgent }));

/** All that can be done with an agent. */
export function AgentMenu({ agent }: { agent: AgentView }) {
  const [deleting, setDeleting] = useState(false);
  const { row } = agent;
  const items = () => [
    agentItem(agent, 'open', { label: 'Open in a new tab', href: `/agents/${row.id}/open`, newTab: true }, RUNNING),
    { label: 'Logs', href: `/agents/${row.id}/logs` },
    { label: 'Backups', href: `/agents/${row.id}/backups` },
    null,
    agentItem(agent, 'start', { label: 'Start' }),
    agentItem(agent, 'stop', {
      label: 'Stop',
      ...(row.status === 'running' ? { hint: 'Its state is saved first' } : {}),
    }),
    agentItem(agent, 'save', { label: 'Save its state' }, RUNNING),
    agentItem(agent, 'delete', { label: 'Delete…', danger: true, onSelect: () => setDeleting(true) }),
  ];
  return (
    <>
      <Menu small label={`More for ${nameOf(row)}`} items={items} />
      {deleting ? (
        <Suspense fallback={null}>
          <DeleteAgent agent={row} onClose={() => setDeleting(false)} />
        </Suspense>
      ) : null}
    </>
  );
}
