import { useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { useLocation } from 'wouter';
import { ApiError } from '../../api/errors';
import type { NodeDetail } from '../../api/operations';
import { client } from '../../data/client';
import { useUrlState } from '../../data/url';
import { Button, ButtonLink } from '../../ui/button';
import { Copy } from '../../ui/copy';
import { factList } from '../../ui/fact-list';
import { Facts } from '../../ui/facts';
import { many } from '../../ui/format';
import { Menu } from '../../ui/menu';
import { Page } from '../../ui/page';
import { Block, Load, Note, Skeleton } from '../../ui/states';
import { Status } from '../../ui/status';
import { Age, Moment } from '../../ui/time';
import type { PageProps } from '..';
import { ContainerTable } from '../containers/container-table';
import { onHost } from '../containers/view';
import { type Fleet, hostFleetOptions, hostOptions } from '../fleet/data';
import { HostAction, type HostDialog } from '../fleet/host-actions';
import { hostItems } from '../fleet/host-table';
import { type Host, hostState, isRead, merged, NO_NEW_AGENTS, unreadSince } from '../fleet/hosts';
import { useCheck } from '../fleet/operations';
import { FleetNav } from '../fleet/subnav';
import { Figures } from './figures';
import { Gauges } from './gauges';
import { Withdrawal } from './withdrawal';

const DEFAULTS = { sort: 'health' };

export default function HostPage({ params }: PageProps) {
  const nodeId = params.nodeId ?? '';
  const query = useQuery(hostOptions(nodeId), client);
  const fleet = useQuery(hostFleetOptions(nodeId), client);
  const [dialog, setDialog] = useState<HostDialog | null>(null);
  const [, navigate] = useLocation();
  const check = useCheck();
  const node = query.data;
  const host = node ? (merged([node], fleet.data?.nodes)[0] ?? null) : null;
  return (
    <Page
      title={nodeId}
      tab={`${nodeId} - Fleet`}
      query={query}
      sentence={host ? sentence(host) : null}
      actions={
        host ? (
          <>
            <Button busy={check.busy} onClick={() => check.run(nodeId)}>
              {check.busy ? 'Checking…' : 'Check now'}
            </Button>
            <Menu
              label={`Actions for ${nodeId}`}
              items={() => hostItems({ host, onDialog: setDialog, onCheck: () => check.run(nodeId) })}
            />
          </>
        ) : null
      }
    >
      <FleetNav />
      {query.error instanceof ApiError && query.error.status === 404 ? (
        <Note title={`No host is called ${nodeId}`} actions={<ButtonLink href="/fleet">To the fleet</ButtonLink>}>
          <p>It was removed, or never registered under this name.</p>
        </Note>
      ) : (
        <Load query={query} skeleton={<Skeleton lines={8} height="1.5rem" />}>
          {(detail) => <Shown detail={detail} fleet={fleet} />}
        </Load>
      )}
      {node && dialog ? (
        <HostAction
          key={dialog}
          node={node}
          dialog={dialog}
          onClose={() => setDialog(null)}
          onRemoved={() => navigate('/fleet')}
        />
      ) : null}
    </Page>
  );
}

function sentence(host: Host): string {
  const { word, note } = hostState(host);
  const slots = `${host.node.allocatedCount} of ${many(host.node.capacity, 'slot')} are taken.`;
  const closed = host.node.enabled || note === NO_NEW_AGENTS ? '' : ` It ${NO_NEW_AGENTS}.`;
  return `${word}${note ? `: ${note.replace(/\.$/, '')}` : ''}. ${slots}${closed}`;
}

type FleetQuery = ReturnType<typeof useQuery<Fleet>>;

function Shown({ detail, fleet }: { detail: NodeDetail; fleet: FleetQuery }) {
  const host = merged([detail], fleet.data?.nodes)[0];
  const [{ sort }, change] = useUrlState(DEFAULTS);
  const views = useMemo(
    () => onHost(detail.containers, host?.seen ?? null, fleet.data?.containers ?? []),
    [detail.containers, host?.seen, fleet.data?.containers],
  );
  if (!host) return null;
  const since = unreadSince(host, fleet.data?.incidents);
  return (
    <>
      <Withdrawal detail={detail} />
      <Block title="What it shows" query={fleet}>
        <Load query={fleet} what="The inspection of this host" skeleton={<Skeleton lines={3} />}>
          {() => (
            <div className="stack">
              <Alerts host={host} />
              {isRead(host) ? null : (
                <p>
                  <Status tone="unknown">
                    Not read{' '}
                    {since ? (
                      <>
                        since <Moment at={since} />
                      </>
                    ) : (
                      'by the last inspection'
                    )}
                    .
                  </Status>{' '}
                  <span className="muted">
                    Nothing is known of it or its containers; none of them counts as lost, and agents there are not
                    charged.
                  </span>
                </p>
              )}
              <Gauges host={host} />
            </div>
          )}
        </Load>
      </Block>
      <Block title="How it is reached">
        <Reached detail={detail} host={host} />
      </Block>
      <Block title={`Containers: ${views.length}`} query={fleet}>
        {views.length === 0 ? (
          <Note title="No agent is on this host">
            <p>
              {host.seen?.runtime.dockerReadable
                ? 'Docker was read and has no container here.'
                : 'No row names it. What Docker has here was not read.'}
            </p>
          </Note>
        ) : (
          <ContainerTable
            onHost
            caption={`Containers on ${detail.nodeId}`}
            views={views}
            sort={sort}
            onSort={(next) => change({ sort: next })}
          />
        )}
      </Block>
      <Figures nodeId={detail.nodeId} containers={detail.containers} />
    </>
  );
}

const TONES = { critical: 'bad', warning: 'warn', info: 'off' } as const;

function Alerts({ host }: { host: Host }) {
  const alerts = host.seen?.alerts ?? [];
  if (alerts.length === 0) return null;
  return (
    <ul>
      {alerts.map((alert) => (
        <li key={`${alert.code} ${alert.text}`}>
          <Status tone={TONES[alert.severity]}>{alert.text}</Status>
        </li>
      ))}
    </ul>
  );
}

function Reached({ detail, host }: { detail: NodeDetail; host: Host }) {
  const runtime = host.seen?.runtime;
  const key = detail.hostKeyFingerprint;
  const metadata = Object.entries(detail.metadata);
  return (
    <Facts
      facts={factList([
        [
          'Address',
          <code key="address">
            {detail.sshUser}@{detail.hostname}:{detail.sshPort}
          </code>,
        ],
        [
          'Key',
          key ? (
            <span key="key">
              <code>{key}</code> <Copy text={key} label="Copy the fingerprint" />
            </span>
          ) : detail.hostKeyPinned ? (
            'pinned; another one is refused'
          ) : (
            'none pinned: the next one will be'
          ),
        ],
        ['New agents', detail.enabled ? 'may be placed here' : 'are placed elsewhere'],
        ['Docker', runtime?.dockerVersion ?? (runtime?.error || 'not read')],
        ['SSH answers in', runtime?.sshLatencyMs == null ? 'not read' : `${runtime.sshLatencyMs} ms`],
        ['Last asked', <Age key="asked" at={host.seen?.observedAt ?? detail.lastHealthCheck} none="never" />],
        ['Registered', <Moment key="made" at={detail.createdAt} />],
        metadata.length > 0 && [
          'Metadata',
          <code key="meta">{metadata.map(([k, v]) => `${k}=${String(v)}`).join(' ')}</code>,
        ],
      ])}
    />
  );
}
