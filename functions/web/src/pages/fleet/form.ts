/** What the forms of hosts hold, and what is sent of it. Pure. */
import type { SchemaNode, SchemaNodeUpdateRequest } from '../../api/openapi.gen';

export type Form = {
  readonly nodeId: string;
  readonly hostname: string;
  readonly sshPort: string;
  readonly sshUser: string;
  readonly capacity: string;
};

export const NEW: Form = { nodeId: '', hostname: '', sshPort: '22', sshUser: 'root', capacity: '8' };

export const formOf = (node: SchemaNode): Form => ({
  nodeId: node.nodeId,
  hostname: node.hostname,
  sshPort: String(node.sshPort),
  sshUser: node.sshUser,
  capacity: String(node.capacity),
});

/** Only what differs: a field that is not sent is not changed. */
export function changes(node: SchemaNode, form: Form): SchemaNodeUpdateRequest | null {
  const before = formOf(node);
  const body = {
    ...(form.hostname === before.hostname ? {} : { hostname: form.hostname.trim() }),
    ...(form.sshPort === before.sshPort ? {} : { sshPort: Number(form.sshPort) }),
    ...(form.sshUser === before.sshUser ? {} : { sshUser: form.sshUser.trim() }),
    ...(form.capacity === before.capacity ? {} : { capacity: Number(form.capacity) }),
  };
  return Object.keys(body).length > 0 ? (body as SchemaNodeUpdateRequest) : null;
}

export const addressOf = (form: Form) => ({
  hostname: form.hostname.trim(),
  sshPort: Number(form.sshPort),
  sshUser: form.sshUser.trim(),
});
