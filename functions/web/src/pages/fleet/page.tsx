import { useQuery } from '@tanstack/react-query';
import { Plus } from 'lucide-react';
import { useMemo, useState } from 'react';
import type { SchemaLane } from '../../api/openapi.gen';
import { client } from '../../data/client';
import { useUrlState } from '../../data/url';
import { Button } from '../../ui/button';
import { Chips, Field, TextInput } from '../../ui/field';
import { Figures } from '../../ui/figures';
import { Filters } from '../../ui/filters';
import { many } from '../../ui/format';
import { Page } from '../../ui/page';
import { Block, Load, Note, Skeleton } from '../../ui/states';
import { Status } from '../../ui/status';
import { Age } from '../../ui/time';
import { type Fleet as FleetData, fleetOptions, hostsOptions } from './data';
import { Sync } from './host-actions';
import { AddHost } from './host-form';
import { HostTable } from './host-table';
import { backlogTone, counts, fleetSentence, hostState, merged } from './hosts';
import { Incidents } from './incidents';
import { RollOut } from './roll-out';
import { FleetNav } from './subnav';

const DEFAULTS = { q: '', show: 'all', sort: 'state' };

const SHOWS = [
  { value: 'all', label: 'All' },
  { value: 'trouble', label: 'In trouble' },
  { value: 'disabled', label: 'Disabled' },
] as const;
type Show = (typeof SHOWS)[number]['value'];
const isShow = (text: string): text is Show => SHOWS.some((show) => show.value === text);

export default function Fleet() {
  const fleet = useQuery(fleetOptions, client);
  const [adding, setAdding] = useState(false);
  const [syncing, setSyncing] = useState(false);
  return (
    <Page
      title="Fleet"
      query={fleet}
      sentence={fleet.data ? fleetSentence(fleet.data.summary, fleet.data.incidents) : null}
      actions={
        <>
          <Button onClick={() => setSyncing(true)}>Recount slots</Button>
          <Button look="primary" onClick={() => setAdding(true)}>
            <Plus size={14} aria-hidden="true" /> Add host
          </Button>
        </>
      }
    >
      <FleetNav />
      <Load query={fleet} skeleton={<Skeleton lines={6} height="2rem" />}>
        {(data) => (
          <>
            <Tiles fleet={data} />
            <Block title={title(data)} query={fleet}>
              <Incidents incidents={data.incidents} />
            </Block>
          </>
        )}
      </Load>
      <Hosts fleet={fleet.data} onAdd={() => setAdding(true)} />
      <RollOut />
      <AddHost open={adding} onClose={() => setAdding(false)} />
      <Sync open={syncing} onClose={() => setSyncing(false)} />
    </Page>
  );
}

const title = ({ incidents }: FleetData) => {
  const { critical, warning, info } = counts(incidents);
  return `What is wrong: ${critical} critical, ${many(warning, 'warning')}, ${info} to know`;
};

function Tiles({ fleet: { summary, stale, refreshedAt } }: { fleet: FleetData }) {
  const unread = summary.offlineNodes + summary.unknownNodes;
  const trouble = summary.failedContainers + summary.missingContainers;
  return (
    <Figures
      of={[
        {
          label: 'Hosts that were read',
          value: `${summary.healthyNodes + summary.degradedNodes} of ${summary.totalNodes}`,
          note:
            [
              summary.degradedNodes ? `${summary.degradedNodes} degraded` : '',
              unread ? `${unread} not read` : '',
              summary.totalNodes > summary.enabledNodes ? `${summary.totalNodes - summary.enabledNodes} disabled` : '',
            ]
              .filter(Boolean)
              .join(', ') || 'all healthy',
          tone: unread > 0 ? 'bad' : summary.degradedNodes > 0 ? 'warn' : undefined,
        },
        {
          label: 'Slots taken',
          value: `${summary.allocatedSlots} of ${summary.totalCapacity}`,
          note: `${summary.availableSlots} can be used now`,
          tone: summary.availableSlots === 0 ? 'bad' : summary.utilizationPct >= 85 ? 'warn' : undefined,
        },
        {
          label: 'Agents healthy',
          value: `${summary.healthyContainers} of ${summary.totalContainers}`,
          note:
            [
              summary.missingContainers ? `${summary.missingContainers} missing` : '',
              summary.failedContainers ? `${summary.failedContainers} failed` : '',
              summary.unknownContainers ? `${summary.unknownContainers} not known` : '',
              summary.staleContainers ? `${summary.staleContainers} silent` : '',
            ]
              .filter(Boolean)
              .join(', ') || 'none is missing or failed',
          tone: trouble > 0 ? 'bad' : summary.attentionContainers > 0 ? 'warn' : undefined,
        },
        {
          label: 'Last inspection',
          value: <Age at={refreshedAt} />,
          note: stale ? <Status tone="silent">old; another one was asked for</Status> : 'once a minute',
          tone: stale ? 'warn' : undefined,
        },
        {
          label: 'Jobs that wait',
          value: summary.backlogCount,
          note: (
            <>
              <Lane name="stops" lane={summary.backlog.stops} />
              <br />
              <Lane name="starts" lane={summary.backlog.starts} />
            </>
          ),
          tone: backlogTone(summary.backlog, Date.parse(refreshedAt)),
        },
      ]}
    />
  );
}

function Lane({ name, lane: { due, running, oldestDueAt } }: { name: string; lane: SchemaLane }) {
  return (
    <>
      {`${name}: ${due} wait, ${running} run`}
      {oldestDueAt === null ? null : (
        <>
          {', oldest '}
          <Age at={oldestDueAt} />
        </>
      )}
    </>
  );
}

/** The registered hosts, also when there is no inspection: then nothing is known of them, which is not "none". */
function Hosts({ fleet, onAdd }: { fleet: FleetData | undefined; onAdd: () => void }) {
  const query = useQuery(hostsOptions, client);
  const [state, change] = useUrlState(DEFAULTS);
  const show = isShow(state.show) ? state.show : 'all';
  const all = useMemo(() => merged(query.data ?? [], fleet?.nodes), [query.data, fleet]);
  const hosts = useMemo(() => {
    const text = state.q.trim().toLowerCase();
    return all.filter((host) => {
      const { tone } = hostState(host);
      if (show === 'disabled' ? host.node.enabled : show === 'trouble' && (tone === 'ok' || tone === 'off'))
        return false;
      return `${host.id} ${host.node.hostname}`.toLowerCase().includes(text);
    });
  }, [all, show, state.q]);
  return (
    <Block title={query.data ? `Hosts: ${query.data.length}` : 'Hosts'} query={query}>
      <Load query={query} skeleton={<Skeleton lines={5} height="2.5rem" />}>
        {(nodes) =>
          nodes.length === 0 ? (
            <Note
              title="There is no host yet"
              actions={
                <Button look="primary" onClick={onAdd}>
                  Add host
                </Button>
              }
            >
              <p>A host is a machine that you rent, with Docker and an SSH server. Agents run on it.</p>
            </Note>
          ) : (
            <>
              <Filters label="Narrow the hosts">
                <Field label="Name or address">
                  <TextInput type="search" value={state.q} onChange={(event) => change({ q: event.target.value })} />
                </Field>
                <Chips label="Show" value={show} onChange={(next) => change({ show: next })} options={SHOWS} />
              </Filters>
              {hosts.length === 0 ? (
                <Note title="No host fits">
                  <p>Another word, or all hosts, may show some.</p>
                </Note>
              ) : (
                <HostTable
                  hosts={hosts}
                  incidents={fleet?.incidents ?? []}
                  sort={state.sort}
                  onSort={(sort) => change({ sort })}
                />
              )}
            </>
          )
        }
      </Load>
    </Block>
  );
}
