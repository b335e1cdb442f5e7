import type { SchemaContainerAudit } from '../../api/openapi.gen';
import { many } from '../../ui/format';

/** What the comparison found, worst first. What was not read is not "fine". */
export function auditSentence(audit: SchemaContainerAudit): string {
  const unread = audit.nodes.length - audit.nodesChecked;
  const found = [
    audit.totalOrphanRecords ? `${many(audit.totalOrphanRecords, 'agent has', 'agents have')} lost the container` : '',
    audit.totalGhostContainers
      ? `${many(audit.totalGhostContainers, 'container is', 'containers are')} claimed by nobody`
      : '',
    unread ? `${many(unread, 'host was', 'hosts were')} not read` : '',
  ].filter(Boolean);
  if (found.length > 0) return `${found.join(', ')}.`;
  return audit.nodes.length === 0 ? 'No host is enabled.' : 'Everything is where the database says.';
}
