import { lazy, Suspense, useState } from 'react';
import { act } from '../../data/agent-actions';
import type { AgentView } from '../../data/agents';
import { nameOf } from '../../data/announcer';
import { possible } from '../../data/shown';
import { Menu } from '../../ui/menu';

const DeleteAgent = lazy(async () => ({ default: (await import('./delete')).DeleteAgent }));

/** All that can be done with an agent. */
export function AgentMenu({ agent }: { agent: AgentView }) {
  const [deleting, setDeleting] = useState(false);
  const { row } = agent;
  const items = () => {
    const can = possible(row, agent.doing);
    const running = can.open ? {} : { disabled: true, hint: 'Only while it runs' };
    return [
      { label: 'Open in a new tab', href: `/agents/${row.id}/open`, newTab: true, ...running },
      { label: 'Logs', href: `/agents/${row.id}/logs` },
      { label: 'Backups', href: `/agents/${row.id}/backups` },
      null,
      can.stop
        ? { label: 'Stop', hint: 'Its state is saved first', onSelect: () => act({ kind: 'stop', agent: row }) }
        : { label: 'Start', onSelect: () => act({ kind: 'start', agent: row }), disabled: !can.start },
      {
        label: 'Save its state',
        onSelect: () => act({ kind: 'save', agent: row }),
        ...(can.save ? {} : running),
        disabled: !can.save,
      },
      { label: 'Delete…', danger: true, disabled: !can.delete, onSelect: () => setDeleting(true) },
    ];
  };
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
