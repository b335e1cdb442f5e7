import { useQuery } from '@tanstack/react-query';
import { newKey } from '../../api/client';
import { client } from '../../data/client';
import { Dialog } from '../../ui/dialog';
import { factList } from '../../ui/fact-list';
import { Facts } from '../../ui/facts';
import { bytes } from '../../ui/format';
import { Load, Note } from '../../ui/states';
import { Moment } from '../../ui/time';
import { perform } from './operations';
import type { ContainerView } from './view';

/** What Docker says about a container now. */
export function InspectDialog({ view, onClose }: { view: ContainerView; onClose: () => void }) {
  const query = useQuery(
    {
      queryKey: ['container-inspect', view.id],
      queryFn: () => perform('inspect', view, newKey()),
      refetchOnWindowFocus: false,
      gcTime: 0,
    },
    client,
  );
  return (
    <Dialog open wide onClose={onClose} title={`${view.containerName} on ${view.nodeId}`}>
      <Load query={query} what="This container">
        {({ container }) =>
          container === undefined ? (
            <Note title="Docker said nothing about it" />
          ) : (
            <Facts
              facts={factList([
                ['State', `${container.state}: ${container.status}`],
                ['Health check', container.health ?? 'the image has none'],
                ['Restarts by Docker', container.restartCount],
                ['Image', <code key="image">{container.image}</code>],
                ['Id', <code key="id">{container.id}</code>],
                ['Created', <Moment key="at" at={container.createdAt} />],
                ['Memory limit', container.limits.memoryBytes === null ? 'none' : bytes(container.limits.memoryBytes)],
                ['Processors', container.limits.nanoCpus === null ? 'no limit' : container.limits.nanoCpus / 1e9],
                ['Processes', container.limits.pids === null ? 'no limit' : `${container.limits.pids} at most`],
              ])}
            />
          )
        }
      </Load>
      <p className="muted">Docker was asked just now. That is written to the audit log as you.</p>
    </Dialog>
  );
}
