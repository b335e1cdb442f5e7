import { useQuery } from '@tanstack/react-query';
import { ExternalLink } from 'lucide-react';
import { lazy, Suspense, useState } from 'react';
import { useLocation } from 'wouter';
import type { AgentDetail } from '../../api/operations';
import { act } from '../../data/agent-actions';
import { type AgentView, agentOptions, useAgentView } from '../../data/agents';
import { nameOf } from '../../data/announcer';
import { useWhyNot } from '../../data/session';
import { possible } from '../../data/shown';
import { Button, ButtonLink } from '../../ui/button';
import { Menu } from '../../ui/menu';
import { Page } from '../../ui/page';
import { Absent, Note, Skeleton, StaleFrame } from '../../ui/states';
import { Tabs } from '../../ui/tabs';
import type { PageProps } from '..';
import { AgentRefusal, AgentStatus, mainAction, VERBS } from '../agents/columns';
import { DeleteAgent } from '../agents/delete';
import { agentItem, RUNNING } from '../agents/items';
import { Summary } from './summary';
import { Trouble } from './trouble';

const Figures = lazy(() => import('./figures'));
const Logs = lazy(() => import('./logs'));
const Backups = lazy(() => import('./backups'));
const Activity = lazy(() => import('./activity'));
const Connect = lazy(() => import('./connect'));
const Settings = lazy(() => import('./settings'));

const TABS = [
  { id: 'logs', label: 'Logs', View: Logs },
  { id: 'backups', label: 'Backups', View: Backups },
  { id: 'activity', label: 'Activity', View: Activity },
  { id: 'connect', label: 'Connect', View: Connect },
  { id: 'settings', label: 'Settings', View: Settings },
] as const;

export type TabProps = { readonly agent: AgentDetail; readonly view: AgentView };

export default function AgentPage({ params }: PageProps) {
  const id = params.id ?? '';
  return <OneAgent key={id} id={id} tab={params.tab ?? 'logs'} />;
}

function OneAgent({ id, tab }: { id: string; tab: string }) {
  const query = useQuery(agentOptions(id));
  const view = useAgentView(id);
  const [known] = useState(view);
  const title = view ? nameOf(view.row) : known ? nameOf(known.row) : 'Agent';

  if (!view && query.data && !query.isFetching)
    return (
      <Page title={title}>
        <Note title={`${title} is deleted`} actions={<ButtonLink href="/agents">Go to agents</ButtonLink>}>
          <p>It was deleted here, in another tab or by somebody else.</p>
        </Note>
      </Page>
    );
  if (!view || !query.data)
    return (
      <Page title={title}>
        <Absent query={query} what="This agent" skeleton={<Skeleton lines={6} height="1.5rem" />} />
      </Page>
    );
  const current = TABS.find((one) => one.id === tab) ?? TABS[0];
  const agent: AgentDetail = { ...query.data, ...view.row };
  return (
    <Page title={title} sentence={<AgentStatus agent={view} />} query={query} actions={<Actions view={view} />}>
      {view.refusal ? <AgentRefusal agent={view} /> : <Trouble view={view} detail={query.data} />}
      <StaleFrame query={query}>
        <Summary agent={agent} />
      </StaleFrame>
      <Suspense fallback={<Skeleton lines={3} />}>
        <Figures id={id} />
      </Suspense>
      <Tabs
        label={`About ${title}`}
        tabs={TABS.map((one) => ({ id: one.id, label: one.label, href: `/agents/${id}/${one.id}` }))}
        current={current.id}
      >
        <Suspense fallback={<Skeleton lines={4} />}>
          <current.View agent={agent} view={view} />
        </Suspense>
      </Tabs>
    </Page>
  );
}

function Actions({ view }: { view: AgentView }) {
  const [deleting, setDeleting] = useState(false);
  const [, navigate] = useLocation();
  const { row } = view;
  const can = possible(row, view.doing);
  const kind = mainAction(view) ?? (can.stop && row.pendingAction === null ? 'stop' : null);
  const unopened = useWhyNot('open');
  const blocked = useWhyNot(kind ?? 'start');
  const items = () => [
    agentItem(view, 'save', { label: 'Save its state' }, RUNNING),
    // What the button beside the menu does not do.
    ...(kind !== 'start' && can.start ? [agentItem(view, 'start', { label: 'Start' })] : []),
    ...(kind !== 'stop' && can.stop ? [agentItem(view, 'stop', { label: 'Stop' })] : []),
    agentItem(view, 'delete', { label: 'Delete…', danger: true, onSelect: () => setDeleting(true) }),
  ];
  return (
    <>
      {can.open ? (
        <ButtonLink look="primary" blocked={unopened} href={`/agents/${row.id}/open`} target="_blank" rel="noopener">
          Open <ExternalLink size={14} aria-hidden="true" />
          <span className="unseen">in a new tab</span>
        </ButtonLink>
      ) : null}
      {kind ? (
        <Button
          look={kind === 'start' ? 'primary' : 'plain'}
          blocked={blocked}
          onClick={() => act({ kind, agent: row })}
        >
          {VERBS[kind]}
        </Button>
      ) : null}
      <Menu label={`More for ${nameOf(row)}`} items={items} />
      {deleting ? (
        <DeleteAgent agent={row} onClose={() => setDeleting(false)} onDone={() => navigate('/agents')} />
      ) : null}
    </>
  );
}
