import { useState } from 'react';
import { api, unwrap } from '../../api/client';
import type { SchemaContainerAudit } from '../../api/openapi.gen';
import { useOperation } from '../../data/operation';
import { Button } from '../../ui/button';
import { many } from '../../ui/format';
import { Link } from '../../ui/link';
import { Page } from '../../ui/page';
import { Refusal } from '../../ui/refusal';
import { Block, Note, Skeleton } from '../../ui/states';
import { Status } from '../../ui/status';
import { Moment } from '../../ui/time';
import { ContainerTable } from '../containers/container-table';
import { unclaimedView } from '../containers/view';
import { FleetNav } from '../fleet/subnav';
import css from './page.module.css';
import { auditSentence } from './words';

/** Asks every host now what it has, and compares that with the database. Nothing is changed. */
export default function ContainerAuditPage() {
  const audit = useOperation(
    async (_: null) => (await unwrap(api.POST('/api/v1/admin/docker-containers/audit'))).data,
    { repeatable: true, touches: [] },
  );
  const { data } = audit;
  return (
    <Page
      title="Compare with hosts"
      tab="Compare with hosts - Fleet"
      sentence={data ? auditSentence(data) : 'Which containers nobody claims, and which agents have lost theirs.'}
      actions={
        <Button look="primary" busy={audit.busy} onClick={() => audit.run(null)}>
          {audit.busy ? 'Asking every host…' : data ? 'Ask again' : 'Ask every host now'}
        </Button>
      }
    >
      <FleetNav />
      {audit.error ? <Refusal error={audit.error} title="Not compared" /> : null}
      {audit.busy && !data ? <Skeleton lines={5} height="1.5rem" /> : null}
      {data ? (
        <Result audit={data} old={audit.busy} />
      ) : audit.busy ? null : (
        <Note title="Not asked yet">
          <p>
            Every enabled host is asked for its containers, within 20 seconds. Nothing is changed. The inspection of
            each minute finds the same; this shows it at once.
          </p>
        </Note>
      )}
    </Page>
  );
}

function Result({ audit, old }: { audit: SchemaContainerAudit; old: boolean }) {
  const [sort, setSort] = useState('health');
  const unread = audit.nodes.filter((node) => !node.read);
  const unclaimed = audit.nodes.flatMap((node) => node.ghosts.map((found) => unclaimedView(node.nodeId, found)));
  const missing = audit.nodes.flatMap((node) =>
    node.orphanRecords.map((orphan) => ({ ...orphan, nodeId: node.nodeId })),
  );
  const nothing = audit.nodesChecked === 0;
  return (
    <div className={css.result} aria-busy={old}>
      <p className="muted">
        Asked at <Moment at={audit.auditedAt} seconds />. {many(audit.nodesChecked, 'host')} of {audit.nodes.length}{' '}
        {audit.nodesChecked === 1 ? 'was' : 'were'} read.
      </p>
      {unread.length > 0 ? (
        <Block title={`Not read: ${unread.length}`}>
          <p className="muted">What is on these hosts is not known; nothing of it counts as missing.</p>
          <ul className={css.list}>
            {unread.map((node) => (
              <li key={node.nodeId}>
                <Status tone="unknown" note={node.error}>
                  <Link href={`/fleet/nodes/${encodeURIComponent(node.nodeId)}`}>{node.nodeId}</Link>
                </Status>
              </li>
            ))}
          </ul>
        </Block>
      ) : null}
      {nothing ? (
        <Note tone="unknown" title="No host was read">
          <p>
            {audit.nodes.length === 0
              ? 'Only enabled hosts are asked, and none is enabled.'
              : 'So nothing is known of the containers.'}
          </p>
        </Note>
      ) : null}
      <Block title={`Claimed by nobody: ${nothing ? 'not known' : unclaimed.length}`}>
        {nothing ? null : unclaimed.length === 0 ? (
          <p>
            <Status tone="ok">Every container of an agent that was found is claimed by its row.</Status>
          </p>
        ) : (
          <ContainerTable caption="Unclaimed containers" views={unclaimed} sort={sort} onSort={setSort} />
        )}
      </Block>
      <Block title={`Missing: ${nothing ? 'not known' : missing.length}`}>
        {nothing ? null : missing.length === 0 ? (
          <p>
            <Status tone="ok">Every agent whose host was read has its container.</Status>
          </p>
        ) : (
          <ul className={css.list}>
            {missing.map((one) => (
              <li key={one.id}>
                <Status tone="bad" note={`should be on ${one.nodeId} and is not`}>
                  <Link href={`/containers?q=${one.id}`}>{one.containerName}</Link>
                </Status>
              </li>
            ))}
          </ul>
        )}
      </Block>
    </div>
  );
}
