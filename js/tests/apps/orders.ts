// What the apps of all frameworks show: the numbers that came.

export interface Events {
  n: number;
}

declare global {
  interface Window {
    url: string;
  }
}

export const options = {
  initial: [] as readonly number[],
  reduce: (numbers: readonly number[], { data }: { data: number }) => [...numbers, data],
  load: async () => [-1],
};
