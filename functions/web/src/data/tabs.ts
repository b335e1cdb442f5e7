/** What tabs of one browser tell each other: that something changed, never what. */
export type Message =
  | { readonly kind: 'session' }
  | { readonly kind: 'touched'; readonly keys: readonly (readonly unknown[])[] };

const channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('milady');

export function tell(message: Message): void {
  channel?.postMessage(message);
}

export function onTold(listener: (message: Message) => void): void {
  channel?.addEventListener('message', (event: MessageEvent<Message>) => listener(event.data));
}
